"""Drawing tokens: the distribution is softmax's, and the nucleus that of transformers."""

import pytest
import torch

from wildreward.sampling import draw, uniforms

GRID = 20_000
"""Uniforms at equal distances: how often a token comes is its probability, to one part in so many."""


def shares(logits_V: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    grid_R = (torch.arange(GRID) + 0.5) / GRID
    tokens_R = draw(logits_V.expand(GRID, -1), grid_R, temperature, top_p)
    return torch.bincount(tokens_R, minlength=len(logits_V)) / GRID


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_tokens_come_as_often_as_transformers_would_draw_them(temperature: float, top_p: float) -> None:
    from transformers import TopPLogitsWarper

    logits_1V = 2 * torch.randn(1, 40, generator=torch.Generator().manual_seed(3))
    cut_1V = TopPLogitsWarper(top_p)(None, logits_1V / temperature) if top_p < 1 else logits_1V / temperature
    expected_V = cut_1V.softmax(-1)[0]
    found_V = shares(logits_1V[0], temperature, top_p)
    torch.testing.assert_close(found_V, expected_V, atol=2 / GRID, rtol=0)
    assert not found_V[expected_V == 0].any()


def test_a_token_without_probability_is_never_drawn() -> None:
    logits_RV = torch.tensor([[-torch.inf, 1.0, -torch.inf]]).expand(2, 3)
    assert draw(logits_RV, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 1]


def test_temperature_zero_is_the_likeliest_token() -> None:
    assert draw(torch.tensor([[0.1, 0.3, 0.2]]), torch.tensor([0.99]), temperature=0).tolist() == [1]


def test_the_numbers_of_a_prompt_depend_on_its_seed_alone() -> None:
    together = uniforms([5, 6], completions=2, tokens=3)
    assert together.shape == (4, 3)
    assert torch.equal(together[2:], uniforms([6], 2, 3))
    assert not torch.equal(together[:2], together[2:])
