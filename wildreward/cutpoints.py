"""Cutpoints fitted to the scalars of a trained backbone: `train --cutpoint-freedom refitted`.

Not to be confused with calibration, which comes after training, fits a temperature too and is stored beside the trained
cutpoints: what is fitted here are the cutpoints of the checkpoint itself, by the training loss.
"""

import torch
from torch import Tensor

MIN_SHARE = 1e-3
"""A threshold with nearly all rows on one side is fitted as if the other side had this share: it stays finite."""

MIN_GAP = 1e-2
"""Cutpoints around a class that no row has."""


def refit_cutpoints(values_N: Tensor, targets_NK: Tensor) -> list[float]:
    """The K rising cutpoints that minimise the coral loss of scalars f (N,) with targets P(class > k) (N, K).

    The loss is a sum over thresholds, so each cutpoint is fitted alone: at the minimum of a convex function, where the
    mean predicted P(class > k) = mean sigmoid(f - c_k) equals the share of rows above k. Importance weights scale a
    threshold's whole loss and change nothing. Raises ValueError for values that are not numbers.

    >>> f = torch.tensor([-2.0, -1.0, 1.0, 2.0])
    >>> targets = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    >>> cutpoints = refit_cutpoints(f, targets)
    >>> [round(c, 3) for c in cutpoints]
    [-1.688, 1.688]
    >>> torch.sigmoid(f[:, None] - torch.tensor(cutpoints)).mean(0)
    tensor([0.7500, 0.2500])
    """
    if not bool(torch.isfinite(values_N).all()):
        raise ValueError("cutpoints cannot be fitted to scores that are not numbers")
    shares = targets_NK.double().mean(0).clamp(MIN_SHARE, 1 - MIN_SHARE).tolist()
    cutpoints = [_root(values_N.double(), share) for share in shares]
    for k in range(1, len(cutpoints)):
        cutpoints[k] = max(cutpoints[k], cutpoints[k - 1] + MIN_GAP)
    return cutpoints


def _root(values_N: Tensor, share: float) -> float:
    """c with mean sigmoid(f - c) = share, by bisection: the mean falls with c."""
    margin = abs(float(torch.logit(torch.tensor(share, dtype=torch.float64)))) + 1
    low, high = float(values_N.min()) - margin, float(values_N.max()) + margin
    while high - low > 1e-9 * max(1.0, abs(low), abs(high)):
        middle = (low + high) / 2
        if float(torch.sigmoid(values_N - middle).mean()) > share:
            low = middle
        else:
            high = middle
    return (low + high) / 2
