"""Weights survive the journey bit by bit."""

import pytest
import torch

from rl.weights import load, pack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_arrive_as_they_left(dtype: torch.dtype) -> None:
    source, target = torch.nn.Linear(3, 2).to(dtype), torch.nn.Linear(3, 2).to(dtype)
    load(target, pack(source, dtype))
    assert torch.equal(source.weight, target.weight)
    assert torch.equal(source.bias, target.bias)


def test_read_only_arrays_are_copied_not_shared() -> None:
    source, target = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    weights = pack(source, torch.float32)
    for _, array in weights.values():
        array.flags.writeable = False  # as Ray hands them out
    load(target, weights)
    with torch.no_grad():
        target.weight.add_(1)
    assert torch.equal(source.weight + 1, target.weight)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(KeyError, match="bias"):
        load(torch.nn.Linear(3, 2), pack(torch.nn.Linear(3, 2, bias=False), torch.float32))
