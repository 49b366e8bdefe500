"""Answering only where one is sure: how the accuracy of decisions depends on their confidence.

A decision has a confidence (the margin of a pair, or the probability of a class) and is right or wrong. Coverage is the
share of decisions that are made when those below a threshold are left open; risk is the share of wrong ones among them.
Source: El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017 (arXiv 1705.08500), section 2.

Shapes: N decisions, R resamples, U distinct confidences.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import digamma

from wildreward.metrics import Array, Runs, Statistic, ratio


def risk_coverage_area(confidence_N: Array, hits_N: Array) -> Statistic:
    """Area under the risk-coverage curve: mean over k = 1..N of the risk of the k most confident decisions.

    0 is never wrong. A confidence that says nothing gives the plain error rate; equal confidences are taken in every
    order, that is, the expected risk over their permutations. Source: Geifman, Uziel, El-Yaniv 2019 (arXiv 1805.08206).

    >>> from wildreward.metrics import value
    >>> round(value(risk_coverage_area(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 0, 1])), 4), 6)
    0.145833
    >>> value(risk_coverage_area(np.ones(4), np.array([1, 1, 0, 1])), 4)
    0.25
    """
    runs = Runs(-np.asarray(confidence_N, dtype=float))
    misses_N = 1 - np.asarray(hits_N, dtype=float)

    def statistic(weights_RN: Array) -> Array:
        sizes_RU, errors_RU = runs.sums(weights_RN), runs.sums(weights_RN * misses_N)
        reached_RU = sizes_RU.cumsum(1)
        before_RU, errors_before_RU = reached_RU - sizes_RU, errors_RU.cumsum(1) - errors_RU
        rate_RU = np.divide(errors_RU, sizes_RU, out=np.zeros_like(sizes_RU), where=sizes_RU > 0)
        # Within a run, risk(c + j) = (e + j r) / (c + j) = r + (e - c r) / (c + j), and the sum of 1 / (c + j) over j
        # is a difference of harmonic numbers H(n) = digamma(n + 1) + const.
        harmonic_RU = digamma(reached_RU + 1)
        steps_RU = np.diff(harmonic_RU, axis=1, prepend=digamma(1.0))
        risks_RU = errors_RU + (errors_before_RU - before_RU * rate_RU) * steps_RU
        return ratio(risks_RU.sum(1), weights_RN.sum(1))

    return statistic


def coverage_steps(confidence_N: Array, steps: int = 10) -> Iterator[tuple[float, Array]]:
    """(threshold, members (N,)) such that about 1/steps, 2/steps, ... of the decisions have at least that confidence.

    Equal confidences are never split, so that a step may cover more than its share, and steps that coincide are one.

    >>> [(threshold, members.tolist()) for threshold, members in coverage_steps(np.array([3, 1, 2, 2]), steps=4)]
    [(3.0, [True, False, False, False]), (2.0, [True, False, True, True]), (1.0, [True, True, True, True])]
    """
    falling_N = np.sort(np.asarray(confidence_N, dtype=float))[::-1]
    places = np.ceil(np.arange(1, steps + 1) * len(falling_N) / steps).astype(int) - 1
    for threshold in dict.fromkeys(falling_N[places].tolist()):
        yield threshold, confidence_N >= threshold


def equal_bins(values_N: Array, bins: int = 10) -> Iterator[Array]:
    """Members (N,) of about `bins` bins with equally many values each, in rising order; equal values are never split.

    >>> [members.tolist() for members in equal_bins(np.array([5, 1, 2, 2]), bins=2)]
    [[False, True, True, True], [True, False, False, False]]
    >>> len(list(equal_bins(np.ones(4))))
    1
    """
    inner = np.quantile(values_N, np.arange(1, bins) / bins, method="inverted_cdf")
    bin_of_N = np.searchsorted(np.unique(inner), values_N, side="left")
    for index in np.unique(bin_of_N):
        yield bin_of_N == index
