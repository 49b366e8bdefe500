"""Bootstrap intervals: whole groups (conversations, pairs) are drawn with replacement, alike for every statistic.

Because the draws are shared, the difference of two statistics (a model and its baseline) has a paired interval.
Source: Efron and Tibshirani 1993, chapter 13 (percentile interval); groups are the clusters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from wildreward.metrics import Array, Statistic, value

MIN_GROUPS = 10
"""With fewer groups a percentile interval is too narrow to be believed (one pair alone would give [1, 1])."""

_CHUNK_CELLS = 2_000_000
"""Weights are made in slices of about so many cells (16 MB), so that memory does not grow with the replicates."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval. `low` and `high` are None where there are too few groups, or nothing can be said."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def side_of(self, reference: float) -> int | None:
        """1 if all of the interval is above the reference, -1 if below, 0 if it holds it, None without an interval."""
        if self.low is None or self.high is None:
            return None
        return int(self.low > reference) - int(self.high < reference)


@dataclass(frozen=True)
class Samples:
    """The value of a statistic on the data and on every resample."""

    value: float
    replicates_R: Array

    def estimate(self, confidence: float = 0.95) -> Estimate:
        known_R = self.replicates_R[~np.isnan(self.replicates_R)]
        point = None if np.isnan(self.value) else self.value
        if point is None or not known_R.size:
            return Estimate(point)
        tail = (1 - confidence) / 2
        low, high = np.quantile(known_R, [tail, 1 - tail])
        return Estimate(point, float(low), float(high))

    def minus(self, other: "Samples") -> "Samples":
        """The paired difference; both must come from the same `resample` call."""
        return Samples(self.value - other.value, self.replicates_R - other.replicates_R)


def resample(
    statistics: Mapping[str, Statistic], groups_N: Array, replicates: int = 1000, seed: int = 0
) -> dict[str, Samples]:
    """Every statistic on the data and on `replicates` resamples of the groups.

    With fewer than MIN_GROUPS groups, or replicates = 0, there are values but no resamples.

    >>> from wildreward.metrics import mean
    >>> hits = np.array([1, 0] * 50)
    >>> made = resample({"accuracy": mean(hits)}, groups_N=np.arange(100), replicates=2000)["accuracy"].estimate()
    >>> made.value, round(made.low, 1), round(made.high, 1)
    (0.5, 0.4, 0.6)
    """
    count = len(groups_N)
    _, group_of_N = np.unique(groups_N, return_inverse=True)
    found: dict[str, list[Array]] = {name: [] for name in statistics}
    for weights_RN in _weights(group_of_N, replicates, seed):
        for name, statistic in statistics.items():
            found[name].append(statistic(weights_RN))
    return {
        name: Samples(value(statistic, count), np.concatenate([*found[name], np.empty(0)]))
        for name, statistic in statistics.items()
    }


def resample_alike(
    statistics: Mapping[str, Statistic], counts_UN: Array, copies_U: Array, replicates: int = 1000, seed: int = 0
) -> dict[str, Samples]:
    """As `resample`, for groups of which many are alike: millions of conversations with few distinct contents.

    `counts_UN`: how often each of N kinds of items stands in a group of kind u; `copies_U`: how many groups are of it.
    To draw groups with replacement is to draw kinds in proportion to their copies; the statistics weigh the N kinds.

    >>> from wildreward.metrics import mean
    >>> alike = resample_alike({"rate": mean(np.array([1, 0]))}, np.eye(2), np.array([50, 50]), replicates=2000)
    >>> made = alike["rate"].estimate()
    >>> made.value, round(made.low, 1), round(made.high, 1)
    (0.5, 0.4, 0.6)
    """
    whole_1N = (copies_U @ counts_UN)[None].astype(float)
    found: dict[str, list[Array]] = {name: [] for name in statistics}
    for drawn_RU in _draws(copies_U, replicates, seed, width=len(copies_U)):
        weights_RN = drawn_RU @ counts_UN.astype(float)
        for name, statistic in statistics.items():
            found[name].append(statistic(weights_RN))
    return {
        name: Samples(float(statistic(whole_1N)[0]), np.concatenate([*found[name], np.empty(0)]))
        for name, statistic in statistics.items()
    }


def _weights(group_of_N: Array, replicates: int, seed: int) -> Iterator[Array]:
    """Slices of (R, N): how often each item stands in each resample."""
    groups = int(group_of_N.max()) + 1 if group_of_N.size else 0
    for drawn_RG in _draws(np.ones(groups), replicates, seed, width=len(group_of_N)):
        yield drawn_RG[:, group_of_N]


def _draws(copies_U: Array, replicates: int, seed: int, width: int) -> Iterator[Array]:
    """Slices of (R, U): how often a group of each kind is drawn, as many in all as there are; none for too few groups.

    `width`: cells a replicate will take in what is made of it.
    """
    groups = int(copies_U.sum())
    if groups < MIN_GROUPS:
        return
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK_CELLS // width)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        yield generator.multinomial(groups, copies_U / groups, size=rows).astype(float)
