import numpy as np
import pytest

from wildreward.benchmarks import curves
from wildreward.benchmarks.measure import Measure, MeasureOptions
from wildreward.bootstrap import MIN_GROUPS
from wildreward.metrics import mean

HITS = np.array([1] * 15 + [0] * 5)
CONFIDENCE = np.linspace(1, 0, 20)
QUICK = MeasureOptions(replicates=100)


def test_points_stand_beside_the_metrics_on_the_same_resamples() -> None:
    points = {"model": curves.by_coverage(CONFIDENCE, HITS, steps=2)}
    metrics, made = curves.measure_with_curves({"accuracy": Measure(mean(HITS))}, {"c": points}, np.arange(20), QUICK)
    assert list(metrics) == ["accuracy"]
    half, whole = made["c"]["model"]
    assert (half["x"], half["count"], half["value"], half["threshold"]) == (0.5, 10, 1.0, CONFIDENCE[9])
    assert whole == {
        "x": 1.0,
        "count": 20,
        **vars(metrics["accuracy"].estimate),
        "threshold": 0.0,
    }


def test_a_point_about_few_groups_has_no_interval() -> None:
    points = {"model": curves.by_coverage(CONFIDENCE, HITS, steps=4)}
    _, made = curves.measure_with_curves({}, {"c": points}, np.arange(20), QUICK)
    assert [point["low"] is None for point in made["c"]["model"]] == [MIN_GROUPS > 5, False, False, False]


def test_bins_know_where_they_lie() -> None:
    first, second = curves.by_bin_of(np.array([4.0, 1, 2, 3]), np.array([1, 0, 1, 1]), bins=2)
    assert (first.x, first.facts) == (1.5, {"low_edge": 1.0, "high_edge": 2.0})
    assert (second.x, second.measure.model(np.ones((1, 4)))[0]) == (3.5, 1.0)


def test_reliability_has_the_bins_of_the_calibration_error() -> None:
    found = curves.reliability(np.array([0.55, 0.6, 0.95]), np.array([1, 0, 1]), bins=10)
    assert [point.x for point in found] == pytest.approx([0.575, 0.95])


def test_a_margin_histogram_has_an_edge_at_zero_even_when_all_are_equal() -> None:
    for margins in (np.array([-0.3, 2.0]), np.zeros(3)):
        found = curves.histogram({"margin": margins}, curves.MARGIN_BINS, symmetric=True)
        assert 0.0 in found["edges"]
        assert sum(found["series"]["margin"]) == len(margins)


def test_many_ratings_are_one_histogram_and_few_are_one_each() -> None:
    scores = np.arange(30.0)
    assert list(curves.score_histogram(scores, np.arange(30), "rating")["series"]) == ["all"]
    assert list(curves.score_histogram(scores, np.arange(30) % 2, "rating")["series"]) == ["rating 0", "rating 1"]
