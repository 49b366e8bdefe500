"""The learning rate as a pure function of the step."""

import math
from typing import Literal


def learning_rate(
    step: int,
    total_steps: int,
    peak: float,
    *,
    kind: Literal["cosine", "linear", "constant"],
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
    done = (step - warmup) / max(1, total_steps - warmup)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[kind]
    return peak * (min_frac + (1 - min_frac) * factor)
