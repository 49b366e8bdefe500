"""Did the policy get better? Rewards before and after on the same held-out prompts, drawn with the same seeds.

Shapes: P prompts, G completions of each.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000

Rewards = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Interval:
    """A mean, and its 95 percent bootstrap interval over prompts."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Improvement:
    """`difference`: after minus before, prompt by prompt. `win_rate`: share of prompts better after, ties half."""

    before: Interval
    after: Interval
    difference: Interval
    win_rate: Interval
    prompts: int
    prompts_without_reward: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def mean_reward(rewards_PG: Rewards, seed: int = 0) -> Interval:
    """Mean reward over prompts that have one; completions without a reward are left out."""
    return _interval(np.array([mean for mean in map(_mean, rewards_PG) if mean is not None]), seed)


def improvement(before_PG: Rewards, after_PG: Rewards, seed: int = 0) -> Improvement:
    """Raises ValueError when the two do not cover the same prompts, or no prompt has rewards on both sides.

    >>> result = improvement([[1.0], [2.0], [3.0]], [[2.0], [2.0], [3.5]])
    >>> result.difference.mean, round(result.win_rate.mean, 3), result.prompts
    (0.5, 0.833, 3)
    """
    if len(before_PG) != len(after_PG):
        raise ValueError(f"rewards of {len(before_PG)} prompts before and of {len(after_PG)} after")
    both = [
        (b, a)
        for b, a in zip(map(_mean, before_PG), map(_mean, after_PG), strict=True)
        if b is not None and a is not None
    ]
    before_P, after_P = np.array([b for b, _ in both]), np.array([a for _, a in both])
    wins_P = (after_P > before_P) + 0.5 * (after_P == before_P)
    return Improvement(
        _interval(before_P, seed),
        _interval(after_P, seed),
        _interval(after_P - before_P, seed),
        _interval(wins_P, seed),
        len(both),
        len(before_PG) - len(both),
    )


def _mean(rewards_G: Sequence[float | None]) -> float | None:
    known = [reward for reward in rewards_G if reward is not None]
    return sum(known) / len(known) if known else None


def _interval(values_P: Any, seed: int) -> Interval:
    if not len(values_P):
        raise ValueError("no prompt has a reward")
    drawn = np.random.default_rng(seed).integers(0, len(values_P), (RESAMPLES, len(values_P)))
    low, high = np.quantile(values_P[drawn].mean(1), [0.025, 0.975])
    return Interval(float(values_P.mean()), float(low), float(high))
