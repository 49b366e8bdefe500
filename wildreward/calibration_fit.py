"""Temperature and cutpoints by maximum likelihood, on rows the model was not trained on.

The model is z_k = (logit_k - s_k) / T with one temperature T > 0 (Guo et al. 2017, arXiv 1706.04599, section 4.2) and a
shift s_k for each threshold; of a coral head c_k + s_k are its new cutpoints and keep their order. What is minimised,
the mean over rows, in double precision:

    coral        -ln P(class), P(class > k) = sigmoid(z_k): the cumulative logit model (McCullagh 1980)
    corn         -ln P(class), P(class > k | class > k-1) = sigmoid(z_k)
    independent  sum over k of the cross-entropy of sigmoid(z_k) and [class > k]: K models apart

Each is convex in 1/T and s_k/T (for the cumulative model: Pratt 1981), so that a point without slope is the optimum.
T = 1, s = 0 is a point of the model, hence the optimum is never worse than the raw logits on the rows of the fit.
How good it is on other rows is told by a cross-fit: every row by parameters fitted on the other folds.

Guard: a threshold is known to about 1/sqrt(n) logits when n conversations lie on its rarer side. With fewer than
MIN_CLASS_CONVERSATIONS of some class (or none at all) the cutpoints stay the trained ones and the temperature alone is
fitted; with fewer than MIN_CONVERSATIONS in all, or where the fit does not converge, nothing is, and it is said why.

Shapes: N rows, K thresholds, C = K + 1 classes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wildreward.calibration import Calibration, Method, none
from wildreward.metrics import Array
from wildreward.ordinal import HeadKind

MIN_CONVERSATIONS = 50
MIN_CLASS_CONVERSATIONS = 10
FOLDS = 5
MAX_TEMPERATURE = 50.0
"""A temperature beyond this, or below its inverse, is not one: the rows leave it undetermined."""
_MAX_SLOPE = 1e-6
"""Largest derivative of the mean loss that counts as none."""
_MIN_NLL = 1e-4
"""Below it the loss has no optimum: it falls towards 0 as the temperature does, until the slope is too small to see."""


@dataclass(frozen=True)
class Fitted:
    """The calibration, and the logits (N, K) of the rows: `own` by its parameters, `crossed` by those of other folds.

    Both are None where there is no calibration.
    """

    calibration: Calibration
    own: Array | None = None
    crossed: Array | None = None


class NotFitted(Exception):  # noqa: N818 an outcome that is told, not an error of the program
    """Why the rows give no calibration."""


def row_nll(head: HeadKind, logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """(N,) what is minimised, of labels 1..C; logits of a coral head must fall with k.

    Of a coral head ln(sigmoid(a) - sigmoid(b)) = ln sigmoid(a) + ln sigmoid(-b) + ln(1 - exp(b - a)), without loss of
    digits.

    >>> z = torch.tensor([[1.0, 0.0, -2.0]] * 2)
    >>> [[round(v, 4) for v in row_nll(head, z, torch.tensor([2, 4])).tolist()] for head in ("coral", "corn")]
    [[1.4651, 2.1269], [1.0064, 3.1333]]
    >>> [round(v, 4) for v in row_nll("independent", z, torch.tensor([2, 4])).tolist()]
    [1.1333, 3.1333]
    """
    above_NK, below_NK = functional.logsigmoid(logits_NK), functional.logsigmoid(-logits_NK)
    if head == "coral":
        between = torch.log(-torch.expm1(logits_NK[:, 1:] - logits_NK[:, :-1]))
        log_NC = functional.pad(above_NK, (1, 0)) + functional.pad(below_NK, (0, 1)) + functional.pad(between, (1, 1))
    else:
        if head == "independent":
            below_NK = below_NK.flip(1).cumsum(1).flip(1)
        log_NC = functional.pad(above_NK.cumsum(1), (1, 0)) + functional.pad(below_NK, (0, 1))
    return -log_NC.gather(1, labels_N[:, None] - 1)[:, 0]


def fit(
    head: HeadKind,
    logits_NK: Array,
    labels_N: Array,
    conversations: Sequence[str],
    cutpoints: Sequence[float] | None,
    *,
    rows_are: str,
) -> Fitted:
    """Fit what the rows can tell. `logits_NK` are the head's own, (f - c_k) for coral with its `cutpoints` c.

    >>> fit("coral", np.zeros((4, 1)), np.array([1, 2, 1, 2]), list("abcd"), [0.0], rows_are="").calibration.reason
    '4 conversations; at least 50 are needed'
    """
    start_K = np.zeros(logits_NK.shape[1]) if cutpoints is None else np.asarray(cutpoints, dtype=float)
    try:
        method, reason = _method(labels_N, conversations, logits_NK.shape[1] + 1)
        problem = _Problem(head, method, start_K)
        theta = problem.solve(logits_NK, labels_N)
        crossed_NK = _crossed(problem, logits_NK, labels_N, conversations)
    except NotFitted as why:
        return Fitted(none(str(why)))
    temperature, fitted_K = problem.parameters(theta)
    own_NK = problem.apply(theta, logits_NK)
    before, after, fitted = (_mean_nll(head, found_NK, labels_N) for found_NK in (logits_NK, crossed_NK, own_NK))
    facts: dict[str, Any] = {
        "rows": len(labels_N),
        "conversations": len(set(conversations)),
        "class_rows": {str(k): int((labels_N == k).sum()) for k in range(1, logits_NK.shape[1] + 2)},
        "rows_are": rows_are,
        "folds": FOLDS,
        "nll": {"before": before, "after": after, "fitted": fitted},
    }
    return Fitted(Calibration(method, temperature, tuple(fitted_K.tolist()), reason, facts), own_NK, crossed_NK)


def _method(labels_N: Array, conversations: Sequence[str], classes: int) -> tuple[Method, str | None]:
    """What the rows can determine, and why not everything. Raises NotFitted."""
    names = np.asarray(conversations)
    total = len(np.unique(names))
    if total < MIN_CONVERSATIONS:
        raise NotFitted(f"{total} conversations; at least {MIN_CONVERSATIONS} are needed")
    held = {k: len(np.unique(names[labels_N == k])) for k in range(1, classes + 1)}
    if sum(count > 0 for count in held.values()) < 2:
        raise NotFitted(f"one class only ({max(held, key=lambda k: held[k])})")
    few = [f"class {k} has {count}" for k, count in held.items() if count < MIN_CLASS_CONVERSATIONS]
    if few:
        said = f"{', '.join(few)} of the {MIN_CLASS_CONVERSATIONS} conversations that cutpoints need"
        return "temperature", said
    return "temperature+cutpoints", None


@dataclass(frozen=True)
class _Problem:
    """Free parameters: -ln T, then s_k; of coral s_1 and the logarithms by which the gaps of the cutpoints grow."""

    head: HeadKind
    method: Method
    start_K: Array

    def solve(self, logits_NK: Array, labels_N: Array) -> Array:
        """The optimum. Raises NotFitted where there is none."""
        from scipy.optimize import minimize

        z, y = torch.as_tensor(logits_NK, dtype=torch.float64), torch.as_tensor(labels_N, dtype=torch.int64)

        def mean_nll(theta: Tensor) -> Tensor:
            return row_nll(self.head, self._logits(theta, z), y).mean()

        def value_and_slope(theta: Array) -> tuple[float, Array]:
            variable = torch.tensor(theta, requires_grad=True)
            found = mean_nll(variable)
            (slope,) = torch.autograd.grad(found, variable)
            return float(found.detach()), slope.numpy()

        free = 1 if self.method == "temperature" else 1 + len(self.start_K)
        found = minimize(value_and_slope, np.zeros(free), jac=True, method="BFGS", options={"gtol": _MAX_SLOPE / 10})
        theta: Array = found.x
        steepest = float(np.abs(found.jac).max())
        if not steepest < _MAX_SLOPE:
            raise NotFitted(f"the fit did not converge: {found.message} (slope {steepest:.1e})")
        if found.fun < _MIN_NLL:
            raise NotFitted("the classes of these rows are told apart without error: no finite temperature is best")
        temperature, _ = self.parameters(theta)
        if not 1 / MAX_TEMPERATURE < temperature < MAX_TEMPERATURE:
            raise NotFitted(f"the rows leave the temperature undetermined: {temperature:.3g} at the optimum")
        start = float(mean_nll(torch.zeros(free, dtype=torch.float64)))
        if not found.fun <= start:
            raise NotFitted(f"the fit found nothing better than what was there: {found.fun:.6f} against {start:.6f}")
        return theta

    def parameters(self, theta: Array) -> tuple[float, Array]:
        """Temperature and cutpoints."""
        shift_K = self._shift(torch.as_tensor(theta)).numpy()
        return float(np.exp(-theta[0])), self.start_K + shift_K

    def apply(self, theta: Array, logits_NK: Array) -> Array:
        return self._logits(torch.as_tensor(theta), torch.as_tensor(logits_NK, dtype=torch.float64)).numpy()

    def _logits(self, theta: Tensor, logits_NK: Tensor) -> Tensor:
        return (logits_NK - self._shift(theta)) * theta[0].exp()

    def _shift(self, theta: Tensor) -> Tensor:
        """(K,) s."""
        start_K = torch.as_tensor(self.start_K)
        if self.method == "temperature":
            return torch.zeros_like(start_K)
        if self.head != "coral":
            return theta[1:]
        grown = start_K.diff() * torch.expm1(theta[2:])
        return theta[1] + functional.pad(grown.cumsum(0), (1, 0))


def _crossed(problem: _Problem, logits_NK: Array, labels_N: Array, conversations: Sequence[str]) -> Array:
    """(N, K) logits of every row by the parameters of the other folds. Raises NotFitted."""
    folds_N = folds_of(conversations)
    crossed_NK = np.empty(logits_NK.shape)
    for fold in range(FOLDS):
        apart_N = folds_N == fold
        crossed_NK[apart_N] = problem.apply(problem.solve(logits_NK[~apart_N], labels_N[~apart_N]), logits_NK[apart_N])
    return crossed_NK


def folds_of(conversations: Sequence[str]) -> Array:
    """(N,) the fold of each row: whole conversations, dealt in the order of their hashes.

    >>> folds_of(["a", "a", "b", "c"]).tolist()
    [2, 2, 1, 0]
    """
    ordered = sorted(set(conversations), key=lambda name: hashlib.sha256(name.encode()).digest())
    place = {name: position % FOLDS for position, name in enumerate(ordered)}
    return np.array([place[name] for name in conversations])


def _mean_nll(head: HeadKind, logits_NK: Array, labels_N: Array) -> float:
    z, y = torch.as_tensor(logits_NK, dtype=torch.float64), torch.as_tensor(labels_N, dtype=torch.int64)
    return float(row_nll(head, z, y).mean())
