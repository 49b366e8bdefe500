"""The exact best-of-n curve against enumerating every subset, ties and all."""

import itertools

import numpy as np
import pytest

from wildreward.benchmarks.best_of import at, best_of_curve, curves_of, highest, mean_curve, squared_gap
from wildreward.metrics import Statistic, value


def _enumerated(scores: list[float], truth: list[float]) -> list[float]:
    """Mean over all k-subsets of the mean truth of those with the highest score."""
    curve = []
    for k in range(1, len(scores) + 1):
        chosen = []
        for subset in itertools.combinations(range(len(scores)), k):
            top = max(scores[i] for i in subset)
            chosen.append(np.mean([truth[i] for i in subset if scores[i] == top]))
        curve.append(float(np.mean(chosen)))
    return curve


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        ([0.1, 0.7, 0.3, 0.9, 0.5], [1, 0, 1, 0, 1]),
        ([2, 2, 1, 1, 3], [1, 0, 0.5, 1, 0]),
        ([1, 1, 1, 1], [0, 1, 1, 0]),
        ([5], [0.25]),
    ],
)
def test_the_curve_is_that_of_all_subsets(scores: list[float], truth: list[float]) -> None:
    assert best_of_curve(np.array(scores), np.array(truth)).tolist() == pytest.approx(_enumerated(scores, truth))


def test_a_curve_of_a_thousand_replies_stays_a_probability() -> None:
    random = np.random.default_rng(0)
    truth = (random.random(1000) < 0.3).astype(float)
    curve = best_of_curve(truth, truth)
    assert curve[0] == pytest.approx(truth.mean())
    assert curve[-1] == pytest.approx(1.0)
    assert (np.diff(curve) > -1e-12).all()


def test_choosing_blindly_stays_flat_and_the_oracle_is_the_best() -> None:
    truth = np.array([0.0, 1.0, 0.5])
    curves = curves_of({"model": [np.array([1.0, 2.0, 3.0])], "random": [np.zeros(3)]}, [truth])
    assert curves["random"].tolist() == [[0.5, 0.5, 0.5]]
    assert curves["oracle"][0].tolist() == pytest.approx([0.5, (1 + 1 + 0.5) / 3, 1.0])
    assert (curves["oracle"] >= curves["model"]).all()


def test_the_mean_curve_is_over_the_prompts_that_have_as_many_replies() -> None:
    rows = [np.array([1.0, 2.0]), np.array([1.0, 2.0, 3.0])]
    truths = [np.array([0.0, 1.0]), np.array([0.0, 0.0, 1.0])]
    curves = curves_of({"model": rows}, truths)
    assert [value(at(curves["model"], k), 2) for k in (1, 2, 3)] == pytest.approx(
        [(1 / 2 + 1 / 3) / 2, (1 + 2 / 3) / 2, 1.0]
    )
    assert value(at(curves["model"], 2, np.array([False, True])), 2) == pytest.approx(2 / 3)


def test_the_highest_point_and_the_gap_are_those_of_the_mean_curve() -> None:
    curve, oracle = _constant([[0.2, 0.6, 0.4], [0.4, 0.8, 0.6]]), _constant([[0.3, 0.9, 1.0], [0.3, 0.9, 1.0]])
    assert value(highest(curve, 3), 2) == pytest.approx(0.7)
    assert value(squared_gap(curve, oracle, 3), 2) == pytest.approx((0 + 0.2**2 + 0.5**2) / 3)


def _constant(rows: list[list[float]]) -> Statistic:
    return mean_curve(np.array(rows))
