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
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, log_expit

from wildreward.calibration import Calibration, Method, none
from wildreward.metrics import Array

if TYPE_CHECKING:
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


def row_nll(head: "HeadKind", logits_NK: Array, labels_N: Array) -> Array:
    """(N,) what is minimised, of labels 1..C; logits of a coral head must fall with k.

    >>> z = np.array([[1.0, 0.0, -2.0]] * 2)
    >>> [row_nll(head, z, np.array([2, 4])).round(4).tolist() for head in ("coral", "corn")]
    [[1.4651, 2.1269], [1.0064, 3.1333]]
    >>> row_nll("independent", z, np.array([2, 4])).round(4).tolist()
    [1.1333, 3.1333]
    """
    return Likelihood.of(head, labels_N, logits_NK.shape[1]).rows(np.asarray(logits_NK, dtype=float))


@dataclass(frozen=True)
class Likelihood:
    """Which thresholds a row is known to lie above and below, as its head counts them: a coral row has the two next to
    its class, a corn row the first of those that it is not above, an independent row all.

    Of a coral head ln(sigmoid(a) - sigmoid(b)) = ln sigmoid(a) + ln sigmoid(-b) + ln(1 - exp(b - a)), without loss of
    digits; `inner_NK` marks the gap between threshold k and k + 1 where the class lies between them.
    """

    above_NK: Array
    below_NK: Array
    inner_NK: Array | None = None

    @classmethod
    def of(cls, head: "HeadKind", labels_N: Array, thresholds: int) -> "Likelihood":
        k_K, labels_N1 = np.arange(1, thresholds + 1), np.asarray(labels_N)[:, None]
        if head == "coral":
            return cls(k_K == labels_N1 - 1, k_K == labels_N1, k_K[:-1] == labels_N1 - 1)
        return cls(k_K < labels_N1, k_K == labels_N1 if head == "corn" else k_K >= labels_N1)

    def rows(self, z_NK: Array) -> Array:
        """(N,) minus the logarithm."""
        terms_N = -(self.above_NK * log_expit(z_NK) + self.below_NK * log_expit(-z_NK)).sum(1)
        if self.inner_NK is None:
            return np.asarray(terms_N)
        return np.asarray(terms_N - (self.inner_NK * np.log(-np.expm1(np.diff(z_NK, axis=1)))).sum(1))

    def slopes(self, z_NK: Array) -> Array:
        """(N, K) the derivative of `rows` by z."""
        slopes_NK = self.below_NK * expit(z_NK) - self.above_NK * expit(-z_NK)
        if self.inner_NK is not None:
            narrow_NK = self.inner_NK / np.expm1(-np.diff(z_NK, axis=1))
            slopes_NK[:, 1:] += narrow_NK
            slopes_NK[:, :-1] -= narrow_NK
        return np.asarray(slopes_NK)


def fit(
    head: "HeadKind",
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
    before, after, fitted = (
        float(row_nll(head, found_NK, labels_N).mean()) for found_NK in (logits_NK, crossed_NK, own_NK)
    )
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

    head: "HeadKind"
    method: Method
    start_K: Array

    def solve(self, logits_NK: Array, labels_N: Array) -> Array:
        """The optimum. Raises NotFitted where there is none."""
        from scipy.optimize import minimize

        likelihood = Likelihood.of(self.head, labels_N, len(self.start_K))

        def value_and_slope(theta: Array) -> tuple[float, Array]:
            z_NK = self.apply(theta, logits_NK)
            slopes_NK = likelihood.slopes(z_NK) / len(z_NK)
            by_shift = -np.exp(theta[0]) * slopes_NK.sum(0) @ self._shift_slopes(theta)
            return float(likelihood.rows(z_NK).mean()), np.r_[(slopes_NK * z_NK).sum(), by_shift]

        start = np.zeros(1 if self.method == "temperature" else 1 + len(self.start_K))
        found = minimize(value_and_slope, start, jac=True, method="BFGS", options={"gtol": _MAX_SLOPE / 10})
        theta: Array = found.x
        steepest = float(np.abs(found.jac).max())
        if not steepest < _MAX_SLOPE:
            raise NotFitted(f"the fit did not converge: {found.message} (slope {steepest:.1e})")
        if found.fun < _MIN_NLL:
            raise NotFitted("the classes of these rows are told apart without error: no finite temperature is best")
        temperature, _ = self.parameters(theta)
        if not 1 / MAX_TEMPERATURE < temperature < MAX_TEMPERATURE:
            raise NotFitted(f"the rows leave the temperature undetermined: {temperature:.3g} at the optimum")
        before, _ = value_and_slope(start)
        if not found.fun <= before:
            raise NotFitted(f"the fit found nothing better than what was there: {found.fun:.6f} against {before:.6f}")
        return theta

    def parameters(self, theta: Array) -> tuple[float, Array]:
        """Temperature and cutpoints."""
        return float(np.exp(-theta[0])), self.start_K + self._shift(theta)

    def apply(self, theta: Array, logits_NK: Array) -> Array:
        return np.asarray((logits_NK - self._shift(theta)) * np.exp(theta[0]))

    def _shift(self, theta: Array) -> Array:
        """(K,) s."""
        if self.method == "temperature":
            return np.zeros_like(self.start_K)
        if self.head != "coral":
            return theta[1:]
        return np.r_[theta[1], theta[1] + (np.diff(self.start_K) * np.expm1(theta[2:])).cumsum()]

    def _shift_slopes(self, theta: Array) -> Array:
        """(K, P) the derivative of s by the P parameters after the first."""
        count = len(self.start_K)
        if self.method == "temperature":
            return np.zeros((count, 0))
        if self.head != "coral":
            return np.eye(count)
        gaps = np.diff(self.start_K) * np.exp(theta[2:])
        return np.c_[np.ones(count), np.tri(count, count - 1, k=-1) * gaps]


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
