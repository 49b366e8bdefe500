"""The learning rate, and other numbers that change over a run, as pure functions of the step."""

import math
from typing import Literal

Kind = Literal["cosine", "linear", "constant"]


def learning_rate(
    step: int,
    total_steps: int,
    peak: float,
    *,
    kind: Kind,
    warmup_frac: float = 0.0,
    min_frac: float = 0.0,
) -> float:
    """Rate of optimiser step `step` (0-based): linear warm-up, then decay to `min_frac * peak` at the last step.

    >>> [round(learning_rate(step, 6, 1.0, kind="linear", warmup_frac=0.34), 2) for step in range(6)]
    [0.33, 0.67, 1.0, 0.75, 0.5, 0.25]
    >>> round(learning_rate(50, 100, 1.0, kind="cosine"), 3)
    0.5
    """
    warmup = math.floor(warmup_frac * total_steps)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * (min_frac + (1 - min_frac) * remaining(step - warmup, total_steps - warmup, kind))


def between(step: int, total_steps: int, start: float, end: float, kind: Kind) -> float:
    """From `start` at step 0 to `end` at `total_steps` and ever after.

    >>> [between(step, 4, 0.25, 0.75, "linear") for step in (0, 2, 4, 9)]
    [0.25, 0.5, 0.75, 0.75]
    >>> between(3, 4, 0.1, 0.5, "constant")
    0.1
    """
    share = remaining(step, total_steps, kind)
    return start * share + end * (1 - share)


def remaining(step: int, total_steps: int, kind: Kind) -> float:
    """1 at step 0 and, unless constant, 0 from `total_steps` on.

    >>> [round(remaining(step, 4, "cosine"), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    done = min(1.0, max(0.0, step / max(1, total_steps)))
    return {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[kind]
