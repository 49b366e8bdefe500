"""Refitted cutpoints minimise the coral loss, whatever the scores and classes are."""

import pytest
import torch

from wildreward.cutpoints import refit_cutpoints
from wildreward.ordinal import Cutpoints, hard_targets, loss, soft_targets


def test_no_other_cutpoints_have_a_lower_coral_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(300, generator=generator) * 3
    targets = hard_targets((values + torch.randn(300, generator=generator)).clamp(-2, 1.4).round().long() + 3, 4)
    fitted = torch.tensor(refit_cutpoints(values, targets))
    least = loss("coral", values[:, None] - fitted, targets)
    for k in range(3):
        for change in (-0.05, 0.05):
            moved = fitted.clone()
            moved[k] += change
            assert loss("coral", values[:, None] - moved, targets) > least


def test_soft_targets_are_fitted_to_their_mean() -> None:
    values, probs = torch.linspace(-3, 3, 50), torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(50, 4)
    cutpoints = torch.tensor(refit_cutpoints(values, soft_targets(probs)))
    means = torch.sigmoid(values[:, None] - cutpoints).mean(0)
    assert means.tolist() == pytest.approx([0.9, 0.7, 0.4], abs=1e-5)


@pytest.mark.parametrize("values", [[5.0] * 6, [-1e4, 1e4] * 3, [1e-8 * i for i in range(6)]])
def test_absent_classes_and_odd_scores_still_give_cutpoints_that_rise(values: list[float]) -> None:
    Cutpoints(refit_cutpoints(torch.tensor(values), hard_targets(torch.tensor([1, 1, 4, 4, 1, 4]), 5)))


def test_scores_that_are_not_numbers_are_an_error() -> None:
    with pytest.raises(ValueError, match="not numbers"):
        refit_cutpoints(torch.tensor([0.0, float("nan")]), torch.tensor([[1.0], [0.0]]))
