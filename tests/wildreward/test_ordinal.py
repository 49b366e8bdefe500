"""Ordinal heads against published vectors, and the properties that make a score a score."""

import pytest
import torch

from wildreward.ordinal import (
    Cutpoints,
    HeadKind,
    balanced_weights,
    decode,
    frequency_cutpoints,
    hard_targets,
    loss,
    row_losses,
    soft_targets,
)

HEADS: tuple[HeadKind, ...] = ("coral", "corn", "independent")
LOGITS = torch.tensor([[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]])
LEVELS = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])


def test_coral_losses_equal_the_published_vector() -> None:
    assert row_losses("coral", LOGITS, LEVELS).tolist() == pytest.approx([0.5370, 0.8951, 0.6441], abs=1e-4)
    assert loss("coral", LOGITS, LEVELS).item() == pytest.approx(0.6920, abs=1e-4)


def test_corn_counts_only_the_thresholds_an_example_reaches() -> None:
    expected = torch.nn.functional.softplus(torch.tensor([-1.9, -1.0])).sum()
    assert row_losses("corn", LOGITS[1:2], LEVELS[1:2]).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_soft_targets_of_a_certain_class_are_the_hard_ones(head: HeadKind) -> None:
    labels = torch.tensor([1, 2, 4])
    certain = torch.nn.functional.one_hot(labels - 1, 4).float()
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        row_losses(head, logits, soft_targets(certain)), row_losses(head, logits, hard_targets(labels, 4))
    )


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_is_least_at_the_soft_targets_own_probabilities(head: HeadKind) -> None:
    targets = soft_targets(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))
    logits = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(head, logits, targets)
        value.backward()
        return value.item()

    optimizer.step(closure)
    decoded = decode(head, logits.detach())
    assert decoded.score_B.item() == pytest.approx(3.0, abs=1e-3)
    assert decoded.probs_BC[0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_class_probabilities_are_a_distribution_whose_mean_is_the_score(head: HeadKind) -> None:
    logits = torch.randn(500, 3, generator=torch.Generator().manual_seed(1)) * 4
    if head == "coral":
        logits = logits[:, :1] - torch.tensor([-1.0, 0.0, 1.5])
    decoded = decode(head, logits)
    classes = torch.arange(1, 5, dtype=torch.float32)
    assert (decoded.probs_BC >= 0).all()
    torch.testing.assert_close(decoded.probs_BC.sum(1), torch.ones(500))
    torch.testing.assert_close((decoded.probs_BC * classes).sum(1), decoded.score_B)
    assert ((decoded.score_B >= 1) & (decoded.score_B <= 4)).all()


def test_independent_scores_keep_the_published_definition_where_logits_cross() -> None:
    logits = torch.tensor([[-3.0, 2.0, 0.5]])
    assert decode("independent", logits).score_B.item() == pytest.approx(
        1 + torch.sigmoid(logits).sum().item(), abs=1e-6
    )


def test_importance_weights_and_smoothing_change_the_terms_as_defined() -> None:
    logits, targets = torch.tensor([[0.3, -0.2]]), torch.tensor([[1.0, 0.0]])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    weighted = loss("coral", logits, targets, weights_K=torch.tensor([2.0, 0.5]))
    expected = 2 * bce(logits[:, 0], targets[:, 0]) + 0.5 * bce(logits[:, 1], targets[:, 1])
    assert weighted.item() == pytest.approx(expected.item(), abs=1e-6)
    smoothed = loss("coral", logits, targets, label_smoothing=0.2)
    assert smoothed.item() == pytest.approx(2 * bce(logits, torch.tensor([[0.9, 0.1]])).item(), abs=1e-6)


def test_cutpoints_stay_ordered_whatever_the_optimiser_does() -> None:
    cutpoints = Cutpoints([-1.0, 0.0, 1.0])
    with torch.no_grad():
        for parameter in cutpoints.parameters():
            parameter.sub_(3.0)
    assert (cutpoints().diff() > 0).all()
    with pytest.raises(ValueError, match="must rise"):
        Cutpoints([0.0, 0.0])


def test_frequency_cutpoints_predict_the_class_shares_and_survive_an_absent_class() -> None:
    labels = torch.tensor([1, 1, 1, 2, 3, 3, 4, 4])
    logits = -torch.tensor([frequency_cutpoints(labels, 4)])
    assert decode("coral", logits).probs_BC[0].tolist() == pytest.approx([3 / 8, 1 / 8, 2 / 8, 2 / 8], abs=1e-5)
    Cutpoints(frequency_cutpoints(torch.tensor([1, 4]), 4))


def test_balanced_weights_favour_the_threshold_with_a_rare_side() -> None:
    weights = balanced_weights(torch.tensor([1, 2, 2, 2, 2, 2, 2, 3, 4]), 4)
    assert weights[2] > weights[1] > 0
    assert weights.mean().item() == pytest.approx(1.0)
