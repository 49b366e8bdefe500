"""The attention of the fast BERT, against PyTorch's in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from wildreward.cpu_bert import LONG, attend

HEADS, SIZE = 4, 8


def expected(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (x.double().unflatten(-1, (HEADS, SIZE)).transpose(0, 1) for x in (query, key, value))
    return scaled_dot_product_attention(q, k, v, scale=math.log(2)).transpose(0, 1).flatten(-2)


def qkv(tokens: int) -> list[Tensor]:
    whole = torch.randn(tokens, 3 * HEADS * SIZE, generator=torch.Generator().manual_seed(tokens))
    return list(whole.split(HEADS * SIZE, -1))


@pytest.mark.parametrize("tokens", [1, 17, LONG - 1, LONG, LONG + 1, 250])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_of_every_length(tokens: int, dtype: torch.dtype) -> None:
    query, key, value = (x.to(dtype) for x in qkv(tokens))
    tolerance = 1e-6 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(
        attend(query, key, value, HEADS).double(), expected(query, key, value), atol=tolerance, rtol=tolerance
    )


@pytest.mark.parametrize("tokens", [17, 200])
@pytest.mark.parametrize("reach", [500, -500])
def test_scores_whose_powers_leave_float32(tokens: int, reach: int) -> None:
    """Every score of a row is about `reach`: all powers are infinite, or all are zero."""
    query, key, value = qkv(tokens)
    query, key = query.clone(), key.clone()
    query[:, ::SIZE], key[:, ::SIZE] = reach, 1
    assert math.isinf(2.0 ** torch.tensor(float(abs(reach))))
    torch.testing.assert_close(
        attend(query, key, value, HEADS).double(), expected(query, key, value), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("tokens", [17, 200])
def test_a_number_that_is_none_stays_none(tokens: int) -> None:
    query, key, value = qkv(tokens)
    key = key.clone()
    key[3] = math.nan
    assert attend(query, key, value, HEADS).isnan().all()
