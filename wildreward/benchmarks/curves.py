"""Curves with intervals: a metric in each of many bins, measured on the same resamples as everything else.

A curve of results.json (`extra.curves`) is {series: [{x, count, value, low, high, ...}]}: for each point where it lies,
how many items it is about, the value there and its interval (null with fewer than MIN_GROUPS groups).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics, measure_all
from wildreward.metrics import Array, bin_of, mean, rate_within
from wildreward.selective import coverage_steps, equal_bins

MAX_LEVELS = 10
"""Ratings with more different values than that are not drawn one by one."""

SCORE_BINS, MARGIN_BINS = 25, 40
"""Bins of the histograms; an even number of margins' bins puts an edge at 0."""


@dataclass(frozen=True)
class Point:
    """One point: its place on the x axis, what is measured there, and more facts for results.json."""

    x: float
    measure: Measure
    facts: Mapping[str, float] = field(default_factory=dict)


Curve = dict[str, list[Point]]
"""Points by series: "model" and its baselines, or one series for each threshold."""


def measure_with_curves(
    measures: Mapping[str, Measure], curves: Mapping[str, Curve], groups_N: Array, options: MeasureOptions
) -> tuple[Metrics, dict[str, Any]]:
    """The metrics, and the curves as plain values, all on the same resamples."""
    points = {
        f"\t{name}\t{series}\t{place}": (name, series, point)
        for name, curve in curves.items()
        for series, found in curve.items()
        for place, point in enumerate(found)
    }
    metrics = measure_all(
        dict(measures) | {key: point.measure for key, (_, _, point) in points.items()}, groups_N, options
    )
    made: dict[str, Any] = {name: {series: [] for series in curve} for name, curve in curves.items()}
    for key, (name, series, point) in points.items():
        metric = metrics.pop(key)
        made[name][series].append({"x": point.x, "count": metric.count, **vars(metric.estimate), **point.facts})
    return metrics, made


def by_coverage(confidence_N: Array, hits_N: Array, steps: int = 10) -> list[Point]:
    """Accuracy of the most confident share; x is the share that was really covered (ties are never split)."""
    return [
        Point(float(members_N.mean()), _rate(hits_N, members_N), {"threshold": threshold})
        for threshold, members_N in coverage_steps(confidence_N, steps)
    ]


def by_bin_of(values_N: Array, hits_N: Array, bins: int) -> list[Point]:
    """Mean of `hits` in bins of equally many values; x is the mean value of the bin, `low_edge` and `high_edge` its
    smallest and largest."""
    return [_point(values_N, hits_N, members_N) for members_N in equal_bins(values_N, bins)]


def reliability(confidence_N: Array, hits_N: Array, bins: int) -> list[Point]:
    """Rate of hits in bins of equal width over 0..1, as behind the ECE; x is the mean confidence of the bin."""
    bins_N = bin_of(confidence_N, bins)
    return [_point(confidence_N, hits_N, bins_N == index) for index in np.unique(bins_N)]


def by_level(levels_N: Array, values_N: Array) -> list[Point]:
    """Mean of `values` at each level; x is the level."""
    return [Point(float(level), _rate(values_N, levels_N == level)) for level in np.unique(levels_N)]


def _point(values_N: Array, hits_N: Array, members_N: Array) -> Point:
    inside = values_N[members_N]
    return Point(
        float(inside.mean()),
        _rate(hits_N, members_N),
        {"low_edge": float(inside.min()), "high_edge": float(inside.max())},
    )


def _rate(hits_N: Array, members_N: Array) -> Measure:
    statistic = mean(hits_N) if members_N.all() else rate_within(hits_N, members_N)
    return Measure(statistic, members_N=members_N)


def histogram(series: Mapping[str, Array], bins: int = SCORE_BINS, symmetric: bool = False) -> dict[str, Any]:
    """{edges, series: {name: counts}} on common edges; `symmetric` puts an edge at 0.

    >>> histogram({"a": np.array([-1.0, 0.5])}, bins=2, symmetric=True)
    {'edges': [-1.0, 0.0, 1.0], 'series': {'a': [1, 1]}}
    """
    everything = np.concatenate([np.asarray(values, dtype=float) for values in series.values()])
    if symmetric:
        reach = float(np.abs(everything).max()) or 1.0
        edges = np.linspace(-reach, reach, bins + 1)
    else:
        edges = np.histogram_bin_edges(everything, bins=bins)
    counts = {name: np.histogram(values, bins=edges)[0].tolist() for name, values in series.items()}
    return {"edges": edges.tolist(), "series": counts}


def score_histogram(scores_N: Array, levels_N: Array, name: str) -> dict[str, Any]:
    """Scores by level, one series each where there are few levels, else all together."""
    levels: Sequence[Any] = np.unique(levels_N).tolist()
    if len(levels) > MAX_LEVELS:
        return histogram({"all": scores_N})
    return histogram({f"{name} {level:g}": scores_N[levels_N == level] for level in levels})
