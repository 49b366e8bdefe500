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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 4, 5, 10])
@pytest.mark.parametrize("head", HEADS)
def test_class_probabilities_are_a_distribution_whose_mean_is_the_score(
    head: HeadKind, classes: int, dtype: torch.dtype
) -> None:
    """Whatever the logits: of the usual size, huge, infinite, equal, and (for coral too) out of order."""
    random = torch.randn(500, classes - 1, generator=torch.Generator().manual_seed(1))
    extreme = torch.tensor([[0.0], [1e30], [-1e30], [float("inf")], [-float("inf")]]).expand(5, classes - 1)
    decoded = decode(head, torch.cat([random, random * 4, random * 100, random * 1e30, extreme]).to(dtype))
    names = torch.arange(1, classes + 1, dtype=torch.float32)
    assert (decoded.probs_BC >= 0).all()
    torch.testing.assert_close(decoded.probs_BC.sum(1), torch.ones(2005), rtol=0, atol=2e-6)
    torch.testing.assert_close((decoded.probs_BC * names).sum(1), decoded.score_B, rtol=0, atol=1e-5)
    assert ((decoded.score_B >= 1) & (decoded.score_B <= classes)).all()
    spread = (decoded.probs_BC * (names - decoded.score_B[:, None]) ** 2).sum(1).sqrt()
    torch.testing.assert_close(decoded.uncertainty_B, spread, rtol=0, atol=1e-3)
    assert ((decoded.uncertainty_B >= 0) & (decoded.uncertainty_B <= (classes - 1) / 2 + 1e-4)).all()


@pytest.mark.parametrize("head", HEADS)
def test_losses_of_extreme_logits_are_numbers_with_gradients_that_are(head: HeadKind) -> None:
    logits = torch.tensor([[1e30, -1e30, 80.0], [-1e4, 1e4, -80.0]], requires_grad=True)
    value = loss(head, logits, hard_targets(torch.tensor([2, 3]), 4), label_smoothing=0.1)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_bfloat16_logits_lose_nothing_but_their_own_rounding() -> None:
    logits, targets = torch.randn(64, 3, generator=torch.Generator().manual_seed(2)).bfloat16(), torch.ones(64, 3)
    for head in HEADS:
        assert torch.equal(row_losses(head, logits, targets), row_losses(head, logits.float(), targets))
        assert torch.equal(decode(head, logits).score_B, decode(head, logits.float()).score_B)


def test_corn_equals_the_reference_implementations_published_example() -> None:
    """coral-pytorch 1.4.0, docs of `corn_loss`: eight rows of five classes, 3.4210. It divides by the classes, we by
    the rows."""
    torch.manual_seed(123)
    features, labels = torch.rand(8, 99), torch.tensor([0, 1, 2, 2, 2, 3, 4, 4])
    logits = torch.nn.Linear(99, 4)(features).detach()
    ours = loss("corn", logits, hard_targets(labels + 1, 5)).item()
    assert ours * 8 / 5 == pytest.approx(3.4210, abs=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_a_soft_loss_is_the_expected_hard_loss(head: HeadKind) -> None:
    """Of coral and independent at any logits, and of corn: its conditional terms are weighted by P(class > k - 1)."""
    probs, logits = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([[0.7, -0.4, 1.1]])
    each = row_losses(head, logits.expand(4, 3), hard_targets(torch.arange(1, 5), 4))
    soft = row_losses(head, logits, soft_targets(probs[None]))
    assert soft.item() == pytest.approx((each * probs).sum().item(), abs=1e-6)


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


def test_balanced_weights_are_the_documented_formula_and_uniform_ones_change_nothing() -> None:
    labels = torch.tensor([1] * 10 + [2] * 20 + [3] * 60 + [4] * 10)
    above = torch.tensor([0.9, 0.7, 0.1])
    expected = (above * (1 - above)).rsqrt()
    torch.testing.assert_close(balanced_weights(labels, 4), expected / expected.mean())
    for head in HEADS:
        assert torch.equal(loss(head, LOGITS, LEVELS, torch.ones(4)), loss(head, LOGITS, LEVELS))


def test_balanced_weights_favour_the_threshold_with_a_rare_side() -> None:
    weights = balanced_weights(torch.tensor([1, 2, 2, 2, 2, 2, 2, 3, 4]), 4)
    assert weights[2] > weights[1] > 0
    assert weights.mean().item() == pytest.approx(1.0)
