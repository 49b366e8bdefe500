"""Which settings of a sweep its metric depends on: permutation importance of a random forest, with its uncertainty.

The trials are drawn with replacement again and again; on each draw a forest is fitted, and every setting is shuffled
among the trials that were not drawn. Importance is by how much the forest's squared error on them grows, in units of
the variance of the metric. Source: Breiman 2001, "Random Forests", section 10; the resampling is that of Efron and
Tibshirani 1993. Few trials say little: the intervals and the forest's own skill are given with the numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wildreward.metrics import Array
from wildreward.search_space import Knob

MIN_TRIALS = 8
"""With fewer, a forest learns single trials."""

DRAWS, TREES, SHUFFLES = 40, 40, 5


@dataclass(frozen=True)
class Importance:
    """Of one setting: mean over draws, and the middle 90 percent of them."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """All settings, the most important first; `skill`: share of the variance of unseen trials that forests explain."""

    settings: tuple[Importance, ...]
    skill: float
    trials: int

    @property
    def text(self) -> str:
        """What the numbers allow to be said."""
        if self.skill <= 0:
            return (
                f"From these {self.trials} trials a forest cannot predict a trial that it has not seen (it explains "
                f"{self.skill:.0%} of the variance): the importances mean nothing."
            )
        certain = [found.name for found in self.settings if found.low > 0]
        beyond = ", ".join(certain) if certain else "none"
        return (
            f"A forest explains {self.skill:.0%} of the variance of trials it has not seen ({self.trials} in all). "
            f"Settings whose interval lies above 0: {beyond}. It says what the metric depends on within this search "
            "space, not which value is better."
        )


def importances(
    knobs: Sequence[Knob], rows: Sequence[Mapping[str, Any]], metric: str, seed: int = 0
) -> Importances | None:
    """Of every setting that has two values or more; None with fewer than MIN_TRIALS trials or nothing to explain."""
    known = [row for row in rows if row.get(metric) is not None]
    varied = [knob for knob in knobs if len({repr(row[knob.name]) for row in known}) > 1]
    target_N = np.array([row[metric] for row in known], dtype=float)
    if len(known) < MIN_TRIALS or not varied or not np.ptp(target_N):
        return None
    columns_NF = np.stack([encode(knob, [row[knob.name] for row in known]) for knob in varied], axis=1)
    rng = np.random.default_rng(seed)
    drawn = [made for _ in range(DRAWS) if (made := _one_draw(columns_NF, target_N, rng)) is not None]
    growth_DF, errors_D = np.array([growth for growth, _ in drawn]), np.array([error for _, error in drawn])
    low_F, high_F = np.quantile(growth_DF, [0.05, 0.95], axis=0)
    found = [
        Importance(knob.name, *map(float, numbers))
        for knob, *numbers in zip(varied, growth_DF.mean(0), low_F, high_F, strict=True)
    ]
    return Importances(tuple(sorted(found, key=lambda one: -one.value)), float(1 - errors_D.mean()), len(known))


def _one_draw(columns_NF: Array, target_N: Array, rng: np.random.Generator) -> tuple[Array, float] | None:
    """(F,) growth of the squared error, and the error itself, on the trials left out, over the variance of all."""
    from sklearn.ensemble import RandomForestRegressor

    count = len(target_N)
    inside = rng.integers(0, count, count)
    outside = np.setdiff1d(np.arange(count), inside)
    if len(outside) < 2:
        return None
    forest = RandomForestRegressor(n_estimators=TREES, random_state=int(rng.integers(2**31)), n_jobs=1)
    forest.fit(columns_NF[inside], target_N[inside])
    rest_MF, truth_M = columns_NF[outside], target_N[outside]
    # One prediction for all that is shuffled: a forest's overhead a call is more than its work on a few trials.
    tables = [rest_MF, *(_shuffled(rest_MF, place, rng) for place in range(rest_MF.shape[1]) for _ in range(SHUFFLES))]
    predicted_SM = forest.predict(np.concatenate(tables)).reshape(len(tables), -1)
    errors_S = ((predicted_SM - truth_M) ** 2).mean(1) / target_N.var()
    growth_F = errors_S[1:].reshape(-1, SHUFFLES).mean(1) - errors_S[0]
    return growth_F, float(errors_S[0])


def _shuffled(columns_MF: Array, place: int, rng: np.random.Generator) -> Array:
    """A copy with one column shuffled among the rows."""
    changed_MF = columns_MF.copy()
    changed_MF[:, place] = rng.permutation(changed_MF[:, place])
    return changed_MF


def encode(knob: Knob, values: Sequence[Any]) -> Array:
    """(N,) numbers of one setting: logarithms for log ranges, places for what is listed, -1 where it did not apply.

    >>> encode(Knob("head", "grid", ("coral", "corn")), ["corn", "coral"])
    array([1., 0.])
    """
    return np.array([-1.0 if value is None else position(knob, value) for value in values])


def position(knob: Knob, value: Any) -> float:
    """Where a value of a knob lies on its axis: its place among the listed ones, else itself or its logarithm."""
    if knob.kind in ("grid", "choice"):
        return float(list(map(repr, knob.values)).index(repr(value)))
    return math.log10(value) if knob.is_log else float(value)
