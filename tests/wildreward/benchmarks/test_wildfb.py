from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import log_loss

from tests.wildreward.benchmarks.rows import wildfb_row
from tests.wildreward.benchmarks.sets import QUICK, made, scalar, score
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.wildfb import WildFB
from wildreward.errors import DataError
from wildreward.metrics import expected_calibration_error, value


def _scored(labels: Sequence[object], probs: Sequence[Sequence[float]]) -> EvaluationSet:
    found = made(WildFB, [wildfb_row(label) for label in labels])
    found.take_scores([score(sum((k + 1) * p for k, p in enumerate(row)), row) for row in probs])
    return found


SURE = ([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1])


def test_a_perfect_model_has_no_error() -> None:
    metrics = _scored([1, 2, 3, 4], SURE).measure(QUICK).metrics
    values = {name: metric.estimate.value for name, metric in metrics.items()}
    assert values["mae"] == values["ece"] == values["ece_above_1"] == pytest.approx(0)
    for name in ("accuracy", "quadratic_kappa", "recall_3", "spearman", "pairwise_accuracy", "auc"):
        assert values[name] == pytest.approx(1), name


def test_metrics_of_a_hand_made_case() -> None:
    # expected scores 1.5, 2, 4, 4 for classes 1, 3, 3, 4; predicted classes 1, 2, 4, 4
    probs = ([0.75, 0, 0.25, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1])
    result = _scored([1, 3, 3, 4], probs).measure(QUICK)
    values = {name: metric.estimate.value for name, metric in result.metrics.items()}
    assert values["mae"] == pytest.approx((0.5 + 1 + 1 + 0) / 4)
    assert values["accuracy"] == 2 / 4
    assert (values["recall_1"], values["recall_2"], values["recall_3"], values["recall_4"]) == (1.0, None, 0.0, 1.0)
    assert values["pairwise_accuracy"] == pytest.approx(4.5 / 5)  # of five pairs, (3, 4) ties at score 4
    assert values["auc"] == 1.0  # the one bad reply scores lowest
    assert values["ece"] == pytest.approx(0.25 * abs(1 - 0.75) + 0.75 * abs(1 / 3 - 1))
    assert values["ece_above_1"] == pytest.approx(0.25 * 0.25)
    assert result.extra["confusion"] == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]]


def test_the_predicted_class_is_the_median_of_the_distribution() -> None:
    found = _scored([1], [[0.4, 0.15, 0.05, 0.4]])
    found.measure(QUICK)
    assert found.items[0]["predicted"] == 2


def test_baselines_are_the_best_constant_and_length() -> None:
    metrics = _scored([1, 2, 2, 4], SURE).measure(QUICK).metrics
    assert metrics["mae"].baselines["constant"].estimate.value == pytest.approx(3 / 4)  # always 2
    assert metrics["accuracy"].baselines["constant"].estimate.value == 2 / 4
    assert metrics["auc"].baselines["length"].estimate.value == 0.5  # all replies are equally long
    assert "length" not in metrics["mae"].baselines


PROBS = np.random.default_rng(2).dirichlet(np.ones(4), 40)
LABELS = np.random.default_rng(3).integers(1, 5, 40)


def test_calibration_of_each_class_and_threshold_is_of_its_own_probability() -> None:
    values = {
        name: metric.estimate.value
        for name, metric in _scored(LABELS.tolist(), PROBS.tolist()).measure(QUICK).metrics.items()
    }
    for k in range(1, 5):
        one = expected_calibration_error(PROBS[:, k - 1], np.equal(LABELS, k))
        assert values[f"ece_class_{k}"] == pytest.approx(value(one, 40))
    for k in range(1, 4):
        above = expected_calibration_error(PROBS[:, k:].sum(1), np.greater(LABELS, k))
        assert values[f"ece_above_{k}"] == pytest.approx(value(above, 40))


def test_proper_scores_are_those_of_the_library_and_of_the_definition() -> None:
    metrics = _scored(LABELS.tolist(), PROBS.tolist()).measure(QUICK).metrics
    values = {name: metric.estimate.value for name, metric in metrics.items()}
    is_class = LABELS[:, None] == np.arange(1, 5)
    assert values["brier"] == pytest.approx(((PROBS - is_class) ** 2).sum(1).mean())
    assert values["log_loss"] == pytest.approx(log_loss(LABELS, PROBS, labels=[1, 2, 3, 4]))
    far = [((PROBS[i].cumsum() - (np.arange(1, 5) >= LABELS[i])) ** 2).sum() for i in range(40)]
    assert values["ranked_probability_score"] == pytest.approx(np.mean(far))
    frequencies = np.bincount(LABELS, minlength=5)[1:] / 40
    entropy = -sum(p * np.log(p) for p in frequencies if p)
    assert metrics["log_loss"].baselines["constant"].estimate.value == pytest.approx(entropy)


def test_a_scalar_model_is_measured_by_its_order_alone() -> None:
    found = made(WildFB, [wildfb_row(label) for label in (1, 2, 3, 4, 5)])
    found.take_scores([scalar(value) for value in (-20.0, -3.0, 4.0, 50.0, 60.0)])
    result = found.measure(QUICK)
    assert set(result.metrics) == {
        "spearman", "pairwise_accuracy", "auc", "score_length_spearman", "score_formatting_spearman",
    }  # fmt: skip
    assert result.metrics["pairwise_accuracy"].estimate.value == 1.0
    assert result.headline == ("pairwise_accuracy", "auc")
    assert set(result.extra["curves"]) == {"score_by_class", "accuracy_by_margin", "accuracy_by_coverage"}
    assert found.skipped == {}  # without probabilities the classes are those of the labels


def test_labels_the_model_does_not_know_are_counted() -> None:
    found = made(WildFB, [wildfb_row(1), wildfb_row(5), wildfb_row(0), wildfb_row("two"), wildfb_row(2, reply="")])
    found.take_scores([score(1.0), score(2.0)])
    found.measure(QUICK)
    assert found.skipped == {"empty_response": 1, "label_out_of_range": 3}


def test_only_unknown_labels_leave_nothing() -> None:
    found = made(WildFB, [wildfb_row(7)])
    found.take_scores([score(1.0)])
    with pytest.raises(DataError, match="label_out_of_range 1"):
        found.measure(QUICK)
