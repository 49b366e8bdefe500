"""Confidence and calibration of pairs: against definitions written out, and scikit-learn."""

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.pair_columns import PairColumns, ReplyColumns
from wildreward.benchmarks.pair_measures import measure_pairs
from wildreward.bootstrap import MIN_GROUPS
from wildreward.formatting import FEATURES
from wildreward.metrics import Array, bin_of

QUICK = MeasureOptions(replicates=50)
RNG = np.random.default_rng(1)
BETTER, WORSE = RNG.normal(0.3, 1, 80).round(1), RNG.normal(0, 1, 80).round(1)  # rounding makes ties


def replies(scores: Array, chars: Array | None = None, **formats: Array) -> ReplyColumns:
    counts = {name: np.zeros(len(scores), dtype=int) for name in (*FEATURES, "formatting")}
    return ReplyColumns(scores, np.zeros(len(scores)) if chars is None else chars, counts | formats)


def measured(better: Array, worse: Array, options: MeasureOptions = QUICK) -> dict[str, float | None]:
    metrics, _ = measure_pairs(PairColumns(replies(better), replies(worse)), np.arange(len(better)), options)
    return {name: metric.estimate.value for name, metric in metrics.items()}


def symmetric_ece(margins: Array, bins: int) -> float:
    """Every pair is asked in both orders: A, the reply shown first, is the better one in one of them."""
    says = np.concatenate([expit(margins), expit(-margins)])
    is_so = np.concatenate([np.ones(len(margins)), np.zeros(len(margins))])
    bins_N = bin_of(says, bins)
    return sum(abs((is_so - says)[bins_N == index].sum()) for index in range(bins)) / len(says)


@pytest.mark.parametrize("bins", [2, 10, 16])
def test_the_calibration_error_is_that_over_both_orders(bins: int) -> None:
    margins = np.concatenate([BETTER - WORSE, np.zeros(5)])  # ties say 1/2 and are half right: they cost nothing
    found = measured(margins, np.zeros(85), MeasureOptions(replicates=0, bins=bins))["ece"]
    assert found == pytest.approx(symmetric_ece(margins, bins))


def test_scores_that_are_all_equal_are_wrong_but_calibrated() -> None:
    found = measured(np.ones(20), np.ones(20))
    assert (found["accuracy"], found["ece"], found["brier"]) == (0.0, 0.0, 0.25)
    assert found["log_loss"] == pytest.approx(math.log(2))
    assert (found["risk_coverage_area"], found["cross_sample_auc"]) == (1.0, 0.5)
    assert found["confidence_auc"] is None


def test_proper_scores_are_those_of_scikit_learn_over_both_orders() -> None:
    found, margins = measured(BETTER, WORSE), BETTER - WORSE
    says = np.concatenate([expit(margins), expit(-margins)])
    is_so = np.concatenate([np.ones(80), np.zeros(80)])
    assert found["brier"] == pytest.approx(brier_score_loss(is_so, says))
    assert found["log_loss"] == pytest.approx(log_loss(is_so, says))


def test_an_unbounded_score_does_not_overflow() -> None:
    found = measured(np.array([-5000.0, 5000.0]), np.array([5000.0, -5000.0]))
    assert (found["brier"], found["log_loss"], found["ece"]) == (0.5, 5000.0, 0.5)


def test_confidence_is_the_area_under_the_curve_of_the_margin() -> None:
    margins = BETTER - WORSE
    assert measured(BETTER, WORSE)["confidence_auc"] == pytest.approx(roc_auc_score(margins > 0, abs(margins)))


def test_ignoring_the_confidence_is_the_baseline_of_the_area() -> None:
    pairs = PairColumns(replies(BETTER), replies(WORSE))
    metrics, _ = measure_pairs(pairs, np.arange(80), QUICK)
    baselines = metrics["risk_coverage_area"].baselines
    assert baselines["constant"].estimate.value == pytest.approx(1 - np.mean(BETTER > WORSE))
    assert set(baselines) == {"length", "random", "constant"}


def test_curves_and_facts_are_plain_values_with_the_baselines_beside() -> None:
    better, worse = np.array([3.0, 2.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.5])
    chars = np.array([9, 1, 1, 1])
    _, facts = measure_pairs(
        PairColumns(replies(better, chars), replies(worse, np.full(4, 2))),
        np.arange(4),
        MeasureOptions(replicates=0, bins=4),
    )
    coverage = facts["curves"]["accuracy_by_coverage"]
    assert [(p["x"], p["value"]) for p in coverage["model"]] == [(0.25, 1.0), (0.5, 1.0), (0.75, 2 / 3), (1.0, 0.5)]
    assert [(p["x"], p["value"]) for p in coverage["length"]] == [(0.25, 1.0), (1.0, 0.25)]
    assert [p["value"] for p in facts["curves"]["accuracy_by_margin"]["model"]] == [0.0, 0.0, 1.0, 1.0]
    assert (facts["pairs"], facts["ties"]) == (4, 1)
    assert sum(facts["histograms"]["margin"]["series"]["margin"]) == 4
    position = facts["position"]
    assert (position["pairs"], position["consistent"], position["largest_gap"]) == (4, 4, pytest.approx(0))


def test_few_pairs_have_values_without_intervals() -> None:
    few = MIN_GROUPS - 1
    metrics, _ = measure_pairs(PairColumns(replies(BETTER[:few]), replies(WORSE[:few])), np.arange(few), QUICK)
    assert all(metric.estimate.low is None for metric in metrics.values())
    assert metrics["risk_coverage_area"].estimate.value is not None
