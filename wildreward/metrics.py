"""What is measured, as functions of row weights, so that one vectorised call gives a whole bootstrap.

A statistic is built from the data once (sorting, binning) and then maps weights (R, N) to values (R,): row r of the
weights says how often each of the N items stands in resample r, and the value is exactly that of the repeated sample.
The plain value is the statistic of `numpy.ones((1, N))`. Where nothing can be said (no pair, no variance) it is NaN.

Shapes: N items, R resamples, C classes, U distinct values.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Statistic = Callable[[Array], Array]

MAX_KENDALL_LEVELS = 32
"""Up to so many distinct ratings Kendall's tau is vectorised over them; beyond, scipy is called per resample."""


def value(statistic: Statistic, count: int) -> float:
    """The statistic of the sample itself, of `count` items."""
    return float(statistic(np.ones((1, count)))[0])


def mean(values_N: Array) -> Statistic:
    """Weighted mean; of 0 and 1 a rate, of |prediction - label| the mean absolute error.

    >>> value(mean(np.array([True, False, True, True])), 4)
    0.75
    """
    values_N = np.asarray(values_N, dtype=float)
    return lambda weights_RN: ratio(weights_RN @ values_N, weights_RN.sum(1))


def rate_within(hits_N: Array, members_N: Array) -> Statistic:
    """Rate of hits among the members alone: recall of a class, accuracy of a subset.

    >>> labels, predicted = np.array([1, 1, 1, 2]), np.array([1, 2, 1, 2])
    >>> round(value(rate_within(predicted == labels, labels == 1), 4), 4)
    0.6667
    """
    members_N = np.asarray(members_N, dtype=float)
    hits_N = members_N * np.asarray(hits_N, dtype=float)
    return lambda weights_RN: ratio(weights_RN @ hits_N, weights_RN @ members_N)


def mean_of_rates(hits_N: Array, groups_N: Array) -> Statistic:
    """Mean over groups of the rate of hits in each: every subset counts alike, however small. Groups that a resample
    misses are left out of its mean.

    >>> value(mean_of_rates(np.array([1, 1, 1, 0]), np.array(["a", "a", "a", "b"])), 4)
    0.5
    """
    rates = [rate_within(hits_N, groups_N == group) for group in np.unique(groups_N)]

    def statistic(weights_RN: Array) -> Array:
        rates_GR = np.stack([rate(weights_RN) for rate in rates])
        known_GR = ~np.isnan(rates_GR)
        return ratio(np.where(known_GR, rates_GR, 0).sum(0), known_GR.sum(0))

    return statistic


def balanced_rate(hits_N: Array, first_N: Array, second_N: Array) -> Statistic:
    """Mean of the rates in two groups, which count alike however large they are; NaN where one of them is empty.

    >>> value(balanced_rate(np.array([1, 1, 1, 0]), np.array([1, 1, 1, 0]), np.array([0, 0, 0, 1])), 4)
    0.5
    """
    first, second = rate_within(hits_N, first_N), rate_within(hits_N, second_N)
    return lambda weights_RN: (first(weights_RN) + second(weights_RN)) / 2


def lowest_rate(hits_N: Array, groups_N: Array, candidates: Sequence[Any]) -> Statistic:
    """The rate of hits in that of the groups where it is lowest. Groups that a resample misses are left out of it.

    >>> value(lowest_rate(np.array([1, 1, 1, 0, 0]), np.array(["a", "a", "b", "b", "c"]), ["a", "b"]), 5)
    0.5
    """
    rates = [rate_within(hits_N, groups_N == group) for group in candidates]

    def statistic(weights_RN: Array) -> Array:
        # fmin passes over NaN, and is NaN only where every group is.
        return np.asarray(np.fmin.reduce([rate(weights_RN) for rate in rates]))

    return statistic


def among(statistic: Statistic, members_N: Array) -> Statistic:
    """A statistic of the members alone; the others weigh nothing.

    >>> value(among(concordance(np.array([3, 9, 1]), np.array([5, 3, 1])), np.array([True, False, True])), 3)
    1.0
    """
    return lambda weights_RN: statistic(weights_RN * members_N)


def of_both(statistic: Statistic) -> Statistic:
    """A statistic over two replies a pair, (first of all pairs, second of all pairs), as one of the weights of pairs.

    >>> value(of_both(mean(np.array([3, 2, 1, 2]))), 2)
    2.0
    """
    return lambda weights_RN: statistic(np.concatenate([weights_RN, weights_RN], axis=1))


def quadratic_kappa(labels_N: Array, predicted_N: Array) -> Statistic:
    """Cohen's kappa with quadratic weights between classes i, j: 1 - sum w O / sum w E, w = (i - j)^2.

    Source: Cohen 1968, "Weighted kappa". Equals sklearn's cohen_kappa_score(weights="quadratic").

    >>> round(value(quadratic_kappa(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 4])), 4), 4)
    0.9167
    """
    labels_N, predicted_N = np.asarray(labels_N, dtype=float), np.asarray(predicted_N, dtype=float)
    squared_N = (labels_N - predicted_N) ** 2
    columns = np.stack([squared_N, labels_N, predicted_N, labels_N**2, predicted_N**2], axis=1)

    def statistic(weights_RN: Array) -> Array:
        observed, y, p, yy, pp = (weights_RN @ columns / weights_RN.sum(1, keepdims=True)).T
        # The expected (i - j)^2 of independent margins is E y^2 + E p^2 - 2 E y E p.
        return 1 - ratio(observed, yy + pp - 2 * y * p)

    return statistic


def cohen_kappa(labels_N: Array, predicted_N: Array) -> Statistic:
    """Cohen's kappa: (observed - expected agreement) / (1 - expected), the expected of independent margins.

    Source: Cohen 1960, "A coefficient of agreement for nominal scales". Equals sklearn's cohen_kappa_score.

    >>> round(value(cohen_kappa(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 4])), 4), 4)
    0.6667
    """
    labels_N, predicted_N = np.asarray(labels_N), np.asarray(predicted_N)
    classes_C = np.union1d(labels_N, predicted_N)
    labels_NC = (labels_N[:, None] == classes_C).astype(float)
    predicted_NC = (predicted_N[:, None] == classes_C).astype(float)
    hits_N = (labels_N == predicted_N).astype(float)

    def statistic(weights_RN: Array) -> Array:
        total_R = weights_RN.sum(1)
        # Times the squared total, so that whole weights give whole numbers and "nothing to divide by" is exactly 0.
        expected_R = ((weights_RN @ labels_NC) * (weights_RN @ predicted_NC)).sum(1)
        return ratio(weights_RN @ hits_N * total_R - expected_R, total_R**2 - expected_R)

    return statistic


def expected_calibration_error(confidence_N: Array, hits_N: Array, bins: int = 10) -> Statistic:
    """sum over bins of (share of the bin) * |rate of hits - mean confidence|, bins of equal width over 0..1.

    Source: Naeini et al. 2015; Guo et al. 2017, eq. 3. A bin is (low, high], the first one closed.
    With few items a bin it is biased upwards: read it beside the count.

    >>> round(value(expected_calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1, 1, 1, 0])), 4), 4)
    0.1
    """
    confidence_N = np.asarray(confidence_N, dtype=float)
    gaps_N = np.asarray(hits_N, dtype=float) - confidence_N
    members_NB = np.eye(bins)[bin_of(confidence_N, bins)]
    return lambda weights_RN: ratio(np.abs(weights_RN @ (members_NB * gaps_N[:, None])).sum(1), weights_RN.sum(1))


def bin_of(confidence_N: Array, bins: int) -> Array:
    """Index of the bin (low, high] of each probability.

    >>> bin_of(np.array([0.0, 0.1, 0.11, 1.0]), 10)
    array([0, 0, 1, 9])
    """
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, confidence_N, side="left")


def concordance(values_N: Array, levels_N: Array) -> Statistic:
    """P(the item of the higher level has the higher value) over all pairs of different level; equal values count half.

    With two levels this is the area under the ROC curve (Mann-Whitney); with more, the pairwise accuracy across them.

    >>> value(concordance(np.array([0.2, 0.9, 0.5, 0.9]), np.array([1, 2, 1, 1])), 4)
    0.8333333333333334
    """
    runs = Runs(np.asarray(values_N, dtype=float))
    levels_N = np.asarray(levels_N)
    levels = np.unique(levels_N)[1:]

    def statistic(weights_RN: Array) -> Array:
        won_R, pairs_R = np.zeros(len(weights_RN)), np.zeros(len(weights_RN))
        for level in levels:
            upper_RU = runs.sums(weights_RN * (levels_N == level))
            lower_RU = runs.sums(weights_RN * (levels_N < level))
            below_RU = lower_RU.cumsum(1) - lower_RU / 2
            won_R += (upper_RU * below_RU).sum(1)
            pairs_R += upper_RU.sum(1) * lower_RU.sum(1)
        return ratio(won_R, pairs_R)

    return statistic


def cross_concordance(better_N: Array, worse_N: Array) -> Statistic:
    """P(the better reply of one pair has a higher value than the worse one of another); equal values count half.

    A pair never meets itself, nor its copies in a resample: they would say again what accuracy says.

    >>> value(cross_concordance(np.array([3, 2]), np.array([1, 3])), 2)
    0.75
    """
    better_N, worse_N = np.asarray(better_N, dtype=float), np.asarray(worse_N, dtype=float)
    runs, own_N = Runs(np.concatenate([better_N, worse_N])), (1 + np.sign(better_N - worse_N)) / 2

    def statistic(weights_RN: Array) -> Array:
        nothing_RN = np.zeros_like(weights_RN)
        upper_RU = runs.sums(np.concatenate([weights_RN, nothing_RN], axis=1))
        lower_RU = runs.sums(np.concatenate([nothing_RN, weights_RN], axis=1))
        below_RU = lower_RU.cumsum(1) - lower_RU / 2
        squared_RN = weights_RN**2
        won_R = (upper_RU * below_RU).sum(1) - squared_RN @ own_N
        return ratio(won_R, weights_RN.sum(1) ** 2 - squared_RN.sum(1))

    return statistic


def spearman(x_N: Array, y_N: Array) -> Statistic:
    """Spearman's rank correlation with mid-ranks for ties: Pearson's correlation of the ranks.

    >>> value(spearman(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4])), 4)
    0.8
    """
    x_runs, y_runs = Runs(np.asarray(x_N, dtype=float)), Runs(np.asarray(y_N, dtype=float))
    return lambda weights_RN: _pearson(x_runs.ranks(weights_RN), y_runs.ranks(weights_RN), weights_RN)


def kendall(values_N: Array, levels_N: Array) -> Statistic:
    """Kendall's tau-b: (concordant - discordant) / sqrt(pairs not tied in values * pairs not tied in levels).

    Source: Kendall 1945. Equals scipy.stats.kendalltau.

    >>> round(value(kendall(np.array([1, 2, 3, 3]), np.array([1, 1, 2, 3])), 4), 4)
    0.8
    """
    values_N, levels_N = np.asarray(values_N, dtype=float), np.asarray(levels_N, dtype=float)
    if len(np.unique(levels_N)) > MAX_KENDALL_LEVELS:
        return _kendall_by_scipy(values_N, levels_N)
    agreement = concordance(values_N, levels_N)
    value_runs, level_runs = Runs(values_N), Runs(levels_N)

    def statistic(weights_RN: Array) -> Array:
        untied_levels_R = level_runs.untied_pairs(weights_RN)
        surplus_R = (2 * agreement(weights_RN) - 1) * untied_levels_R
        return ratio(surplus_R, np.sqrt(untied_levels_R * value_runs.untied_pairs(weights_RN)))

    return statistic


def _kendall_by_scipy(values_N: Array, levels_N: Array) -> Statistic:
    from scipy import stats

    def one(weights_N: Array) -> float:
        counts_N = weights_N.astype(int)
        return float(stats.kendalltau(np.repeat(values_N, counts_N), np.repeat(levels_N, counts_N)).statistic)

    return lambda weights_RN: np.array([one(weights_N) for weights_N in weights_RN])


class Runs:
    """Items grouped by equal value, in rising order: U runs. `sums` and the like are per resample."""

    def __init__(self, values_N: Array) -> None:
        self._order_N = np.argsort(values_N, kind="stable")
        ordered_N = values_N[self._order_N]
        self._starts_U = np.flatnonzero(np.r_[True, ordered_N[1:] != ordered_N[:-1]])
        self._run_of_N = np.searchsorted(ordered_N[self._starts_U], values_N)

    def sums(self, weights_RN: Array) -> Array:
        """(R, U) the weight of each run."""
        return np.add.reduceat(weights_RN[:, self._order_N], self._starts_U, axis=1)

    def ranks(self, weights_RN: Array) -> Array:
        """(R, N) mid-ranks, up to a constant."""
        sums_RU = self.sums(weights_RN)
        return (sums_RU.cumsum(1) - sums_RU / 2)[:, self._run_of_N]

    def untied_pairs(self, weights_RN: Array) -> Array:
        """(R,) how many pairs have different values."""
        sums_RU = self.sums(weights_RN)
        return (sums_RU.sum(1) ** 2 - (sums_RU**2).sum(1)) / 2


def _pearson(x_RN: Array, y_RN: Array, weights_RN: Array) -> Array:
    total_R1 = weights_RN.sum(1, keepdims=True)
    x_RN = x_RN - (weights_RN * x_RN).sum(1, keepdims=True) / total_R1
    y_RN = y_RN - (weights_RN * y_RN).sum(1, keepdims=True) / total_R1
    spread_R = np.sqrt((weights_RN * x_RN**2).sum(1) * (weights_RN * y_RN**2).sum(1))
    return ratio((weights_RN * x_RN * y_RN).sum(1), spread_R)


def ratio(numerator: Array, denominator: Array) -> Array:
    """NaN where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)
