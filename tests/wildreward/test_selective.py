"""Risk against coverage, on small cases that are counted by hand or by trying every order of ties."""

import itertools

import numpy as np
import pytest

from wildreward.metrics import Array, value
from wildreward.selective import coverage_steps, equal_bins, risk_coverage_area

RNG = np.random.default_rng(5)


def mean_risk(hits: Array) -> float:
    """Of decisions that are already in order, the surest first."""
    return float(np.mean(np.cumsum(1 - hits) / np.arange(1, len(hits) + 1)))


def over_all_orders(confidence: Array, hits: Array) -> float:
    """The expected area when ties are broken at random, by trying every order."""
    orders = (list(order) for order in itertools.permutations(range(len(hits))))
    kept = [order for order in orders if (np.diff(confidence[order]) <= 0).all()]
    return float(np.mean([mean_risk(hits[order]) for order in kept]))


def test_the_surest_are_answered_first() -> None:
    # in order of confidence: right, wrong, right -> risks 0, 1/2, 1/3
    area = risk_coverage_area(np.array([0.2, 0.9, 0.5]), np.array([1, 1, 0]))
    assert value(area, 3) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


@pytest.mark.parametrize("confidence", [[1, 1, 1, 1, 1, 1], [2, 2, 1, 1, 1, 0], [3, 3, 3, 2, 2, 2], [6, 5, 4, 3, 2, 1]])
def test_ties_are_taken_in_every_order(confidence: list[float]) -> None:
    hits = np.array([1, 0, 1, 0, 0, 1])
    area = risk_coverage_area(np.array(confidence), hits)
    assert value(area, 6) == pytest.approx(over_all_orders(np.array(confidence), hits))


def test_weights_are_the_repeated_sample() -> None:
    confidence, hits = np.array([3.0, 2, 2, 1]), np.array([1, 0, 1, 0])
    weights = np.array([2, 0, 3, 1])
    repeated = over_all_orders(np.repeat(confidence, weights), np.repeat(hits, weights))
    assert risk_coverage_area(confidence, hits)(weights[None].astype(float))[0] == pytest.approx(repeated)


def test_a_confidence_that_says_nothing_gives_the_error_rate() -> None:
    hits = RNG.random(500) < 0.7
    assert value(risk_coverage_area(np.zeros(500), hits), 500) == pytest.approx(1 - hits.mean())
    assert value(risk_coverage_area(np.where(hits, 1, 0), hits), 500) < 0.1


def test_coverage_steps_take_the_surest_and_never_split_equals() -> None:
    steps = list(coverage_steps(np.array([5.0, 1, 1, 1, 1, 9]), steps=3))
    assert [(threshold, int(members.sum())) for threshold, members in steps] == [(5.0, 2), (1.0, 6)]


def test_bins_hold_equally_many_and_equal_values_stay_together() -> None:
    values = RNG.permutation(100)
    assert [int(members.sum()) for members in equal_bins(values, bins=5)] == [20] * 5
    ties = np.array([0.0] * 7 + [1.0] * 3)
    assert [int(members.sum()) for members in equal_bins(ties, bins=5)] == [7, 3]
    [everything] = equal_bins(np.ones(4), bins=5)
    assert everything.all()
