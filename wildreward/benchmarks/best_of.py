"""Best-of-n: how good the highest-scored of n replies is, for every n, without drawing: pure functions.

The expectation over the k-subsets of n replies is exact. It is unbiased for k fresh replies, as the estimator of
pass@k is, which is its case of right and wrong under an oracle (Chen et al. 2021, arXiv 2107.03374, eq. 1); among
replies of equal score each is chosen alike.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wildreward.benchmarks.measure import Measure, Metrics
from wildreward.metrics import Array, Statistic, rate_within


def best_of_curve(scores_n: Array, truth_n: Array) -> Array:
    """(n,) expected truth of the highest-scored among k = 1..n replies drawn without replacement.

    >>> best_of_curve(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1])).round(4).tolist()
    [0.3333, 0.6667, 1.0]
    >>> best_of_curve(np.array([5.0, 5.0]), np.array([0, 1])).tolist()
    [0.5, 0.5]
    """
    _, level_n, count_g = np.unique(scores_n, return_inverse=True, return_counts=True)
    upper_g = count_g.cumsum()
    below = _share_among_lowest(len(level_n))
    truth_g = np.bincount(level_n, weights=np.asarray(truth_n, dtype=float)) / count_g
    return truth_g @ (below[upper_g] - below[upper_g - count_g])


@lru_cache(maxsize=8)
def _share_among_lowest(n: int) -> Array:
    """(n + 1, n): [r, k - 1] is the probability that all of k replies drawn from n are among the r lowest."""
    drawn_k = np.arange(n)
    left_rk = np.clip(np.arange(n + 1)[:, None] - drawn_k, 0, None)
    return np.cumprod(left_rk / (n - drawn_k), axis=1)


def curves_of(orders: Mapping[str, Sequence[Array]], truths: Sequence[Array]) -> dict[str, Array]:
    """(N, K) curve of each prompt for each ordering, for choosing blindly (`random`) and for the best choice possible
    (`oracle`); K is the largest number of replies, NaN beyond a prompt's own."""
    ordered = {who: rows for who, rows in orders.items() if who != "random"} | {"oracle": truths}
    curves = {who: [best_of_curve(*pair) for pair in zip(rows, truths, strict=True)] for who, rows in ordered.items()}
    curves["random"] = [np.full(len(truth), truth.mean()) for truth in truths]
    return {who: _padded(rows) for who, rows in curves.items()}


def _padded(curves: Sequence[Array]) -> Array:
    width = max(map(len, curves), default=0)
    return np.array([np.pad(curve, (0, width - len(curve)), constant_values=np.nan) for curve in curves])


def mean_curve(curves_NK: Array, members_N: Array | None = None) -> Statistic:
    """Weights (R, N) to the mean curve (R, K) of the members: at each k over the prompts that have k replies."""
    if members_N is not None:
        curves_NK = np.where(members_N[:, None], curves_NK, np.nan)
    there_NK = (~np.isnan(curves_NK)).astype(float)
    filled_NK = np.nan_to_num(curves_NK)

    def statistic(weights_RN: Array) -> Array:
        weight_RK = weights_RN @ there_NK
        return np.divide(weights_RN @ filled_NK, weight_RK, out=np.full(weight_RK.shape, np.nan), where=weight_RK > 0)

    return statistic


def at(curves_NK: Array, k: int, members_N: Array | None = None) -> Statistic:
    """The mean curve of the members at k replies."""
    column_N = curves_NK[:, k - 1]
    there_N = ~np.isnan(column_N) if members_N is None else members_N & ~np.isnan(column_N)
    return rate_within(np.nan_to_num(column_N), there_N)


def sizes_of(curves: Mapping[str, Array], members_N: Array) -> list[int]:
    """1, 2, 4, ... and the largest number of replies of the members.

    >>> sizes_of({"oracle": np.zeros((3, 6))}, np.ones(3, dtype=bool))
    [1, 2, 4, 6]
    """
    largest = max(1, int((~np.isnan(curves["oracle"][members_N])).any(0).sum()))
    return sorted({2**power for power in range(largest.bit_length())} | {largest})


def best_of_measures(curves: Mapping[str, Array], members_N: Array, sizes: Sequence[int]) -> dict[str, Measure]:
    """`best_of_N` of the model, beside choosing blindly (random), by length and best (oracle)."""
    measures = {}
    for size in sizes:
        made = {who: at(curve_NK, size, members_N) for who, curve_NK in curves.items()}
        there_N = members_N & ~np.isnan(curves["oracle"][:, size - 1])
        measures[f"best_of_{size}"] = Measure(made.pop("model"), made, members_N=there_N)
    return measures


def points_of(metrics: Metrics, sizes: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """The curve by series for `extra.curves`: x is how many replies there were to choose from."""
    found = [(size, metrics[f"best_of_{size}"]) for size in sizes]
    series: dict[str, list[dict[str, Any]]] = {"model": []}
    for size, metric in found:
        estimates = {"model": metric.estimate} | {who: made.estimate for who, made in metric.baselines.items()}
        for who, estimate in estimates.items():
            series.setdefault(who, []).append({"x": size, "count": metric.count, **vars(estimate)})
    return series


def highest(curve: Statistic, ends: int) -> Statistic:
    """The best point of the mean curve of 1..ends replies: where it lies before the end, more replies do harm."""
    return lambda weights_RN: curve(weights_RN)[:, :ends].max(1)


def squared_gap(curve: Statistic, oracle: Statistic, ends: int) -> Statistic:
    """Mean over k = 1..ends of the squared distance of the mean curve to the best one possible."""
    return lambda weights_RN: ((oracle(weights_RN) - curve(weights_RN))[:, :ends] ** 2).mean(1)
