"""Best-of-n: how good the highest-scored of n replies is, for every n, without drawing: pure functions.

The expectation over the k-subsets of n replies is exact. It is unbiased for k fresh replies, as the estimator of
pass@k is, which is its case of right and wrong under an oracle (Chen et al. 2021, arXiv 2107.03374, eq. 1); among
replies of equal score each is chosen alike.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from wildreward.metrics import Array, Statistic


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


def at(curve: Statistic, k: int) -> Statistic:
    """The mean curve at k replies."""
    return lambda weights_RN: curve(weights_RN)[:, k - 1]


def highest(curve: Statistic) -> Statistic:
    """The best point of the mean curve: where it lies before the end, more replies do harm."""
    return lambda weights_RN: curve(weights_RN).max(1)


def squared_gap(curve: Statistic, oracle: Statistic) -> Statistic:
    """Mean over k of the squared distance of the mean curve to the best one possible."""
    return lambda weights_RN: ((oracle(weights_RN) - curve(weights_RN)) ** 2).mean(1)


def plain_curves(curves: Mapping[str, Array], members_N: Array) -> dict[str, list[float]]:
    """The mean curves as plain lists, k = 1..K, for results.json and the picture."""
    members = {who: curve_NK[members_N] for who, curve_NK in curves.items()}
    ends = int((~np.isnan(members["oracle"])).any(0).sum())
    values = {who: mean_curve(rows)(np.ones((1, len(rows))))[0, :ends] for who, rows in members.items()}
    return {who: np.round(row, 6).tolist() for who, row in values.items()}
