"""Statistics of weights against scikit-learn and scipy, on data with many ties, plain and resampled."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, recall_score, roc_auc_score

from wildreward import metrics
from wildreward.metrics import Array, Statistic, value

RNG = np.random.default_rng(3)
LABELS = RNG.integers(1, 5, 60)
PREDICTED = np.clip(LABELS + RNG.integers(-1, 2, 60), 1, 4)
SCORES = np.round(LABELS + RNG.normal(size=60), 1)  # rounding makes ties
RESAMPLE = RNG.multinomial(60, np.full(60, 1 / 60))


def _kendall_scipy(x: Array, y: Array) -> float:
    return float(stats.kendalltau(x, y).statistic)


CASES = {
    "mae": (lambda s, y, p: metrics.mean(abs(s - y)), lambda s, y, p: mean_absolute_error(y, s)),
    "recall": (
        lambda s, y, p: metrics.rate_within(p == 2, y == 2),
        lambda s, y, p: recall_score(y, p, labels=[2], average=None)[0],
    ),
    "kappa": (
        lambda s, y, p: metrics.quadratic_kappa(y, p),
        lambda s, y, p: cohen_kappa_score(y, p, weights="quadratic"),
    ),
    "spearman": (lambda s, y, p: metrics.spearman(s, y), lambda s, y, p: stats.spearmanr(s, y).statistic),
    "kendall": (lambda s, y, p: metrics.kendall(s, y), lambda s, y, p: _kendall_scipy(s, y)),
    "kendall of continuous ratings": (lambda s, y, p: metrics.kendall(y, s), lambda s, y, p: _kendall_scipy(y, s)),
    "auc": (lambda s, y, p: metrics.concordance(s, y > 2), lambda s, y, p: roc_auc_score(y > 2, s)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_statistic_of_weights_equals_the_library_on_the_repeated_sample(name: str) -> None:
    build, library = CASES[name]
    statistic: Statistic = build(SCORES, LABELS, PREDICTED)
    repeated = [np.repeat(column, RESAMPLE) for column in (SCORES, LABELS, PREDICTED)]
    assert value(statistic, 60) == pytest.approx(library(SCORES, LABELS, PREDICTED), abs=1e-12)
    assert statistic(RESAMPLE[None].astype(float))[0] == pytest.approx(library(*repeated), abs=1e-12)


def test_continuous_ratings_go_through_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = value(metrics.kendall(SCORES, LABELS), 60)
    monkeypatch.setattr(metrics, "MAX_KENDALL_LEVELS", 1)
    assert value(metrics.kendall(SCORES, LABELS), 60) == pytest.approx(fast, abs=1e-12)


def test_pairwise_accuracy_counts_pairs_of_different_class_and_half_a_tie() -> None:
    # classes 1, 2, 3 with scores 5, 5, 4: (1,2) tie = 1/2, (1,3) wrong, (2,3) wrong -> 0.5 / 3
    statistic = metrics.concordance(np.array([5.0, 5.0, 4.0]), np.array([1, 2, 3]))
    assert value(statistic, 3) == pytest.approx(0.5 / 3)


def test_pairwise_accuracy_equals_the_count_over_all_pairs() -> None:
    won = pairs = 0.0
    for i in range(60):
        for j in range(60):
            if LABELS[i] > LABELS[j]:
                pairs += 1
                won += 1.0 if SCORES[i] > SCORES[j] else 0.5 if SCORES[i] == SCORES[j] else 0.0
    assert value(metrics.concordance(SCORES, LABELS), 60) == pytest.approx(won / pairs)


def test_a_balanced_rate_counts_two_groups_alike_and_needs_both() -> None:
    hits, first, second = np.array([1, 1, 1, 0, 1]), np.array([1, 1, 1, 1, 0]), np.array([0, 0, 0, 0, 1])
    assert value(metrics.balanced_rate(hits, first, second), 5) == pytest.approx((3 / 4 + 1) / 2)
    assert np.isnan(value(metrics.balanced_rate(hits, first, np.zeros(5)), 5))


def test_the_lowest_rate_is_that_of_the_worst_candidate_in_each_resample() -> None:
    hits, groups = np.array([1, 0, 1, 1, 0]), np.array(["a", "a", "b", "b", "c"])
    statistic = metrics.lowest_rate(hits, groups, ["a", "b"])
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 5.0]])
    assert statistic(weights)[:3].tolist() == [0.5, 1.0, 1.0]
    assert np.isnan(statistic(weights)[3])


def test_across_pairs_every_better_reply_meets_the_worse_ones_of_others() -> None:
    better, worse = SCORES[:20], SCORES[20:40] + 0.5
    won = [
        np.sign(better[i] - worse[j]) / 2 + 0.5
        for i in range(20)
        for j in range(20)
        if i != j  # a pair's own two replies are what accuracy is about
    ]
    assert value(metrics.cross_concordance(better, worse), 20) == pytest.approx(np.mean(won))


def test_a_resample_does_not_compare_a_pair_with_its_own_copy() -> None:
    better, worse = np.array([3.0, 1.0]), np.array([0.0, 2.0])
    once = value(metrics.cross_concordance(better, worse), 2)
    assert metrics.cross_concordance(better, worse)(np.array([[3.0, 2.0]]))[0] == pytest.approx(once)
    assert np.isnan(metrics.cross_concordance(better, worse)(np.array([[5.0, 0.0]]))[0])


def test_among_and_of_both_say_whose_weights_count() -> None:
    members = LABELS > 1
    inside = value(metrics.spearman(SCORES[members], LABELS[members]), int(members.sum()))
    assert value(metrics.among(metrics.spearman(SCORES, LABELS), members), 60) == pytest.approx(inside)
    halves = metrics.of_both(metrics.spearman(SCORES, LABELS))
    weights = RNG.integers(0, 3, 30).astype(float)
    assert halves(weights[None])[0] == pytest.approx(metrics.spearman(SCORES, LABELS)(np.tile(weights, 2)[None])[0])


def test_calibration_error_of_a_hand_made_case() -> None:
    # bin (0.5, 0.6]: 2 items, mean confidence 0.6, half right; bin (0.9, 1]: 2 items, mean 0.95, all right
    confidence, hits = np.array([0.6, 0.6, 0.95, 0.95]), np.array([1, 0, 1, 1])
    assert value(metrics.expected_calibration_error(confidence, hits), 4) == pytest.approx(0.5 * 0.1 + 0.5 * 0.05)


def test_perfectly_calibrated_bins_have_no_error() -> None:
    confidence, hits = np.full(10, 0.7), np.array([1] * 7 + [0] * 3)
    assert value(metrics.expected_calibration_error(confidence, hits), 10) == pytest.approx(0)


def test_what_cannot_be_said_is_nan() -> None:
    constant, one_class = np.ones(5), np.full(5, 2)
    for statistic in (
        metrics.spearman(constant, np.arange(5)),
        metrics.kendall(constant, np.arange(5)),
        metrics.concordance(np.arange(5), one_class),
        metrics.rate_within(constant, one_class == 1),
        metrics.quadratic_kappa(one_class, one_class),
    ):
        assert np.isnan(value(statistic, 5))
