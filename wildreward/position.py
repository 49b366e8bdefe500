"""Position bias: does a scorer of pairs answer the mirrored thing when A and B change places?

A pointwise scorer reads one reply at a time, so that the place of a reply in a pair cannot matter: its preference
(wildreward/preference.py) is 1 minus itself when the two are swapped. A judge of pairs has no such guarantee, so it is
asked both ways:

    asked = lambda pairs: [pair.a_better for pair in HttpClient(url).compare(pairs)]
    swap_check(asked, [("2+2?", "4", "5")]).consistent

Source of the test: Zheng et al. 2023 (arXiv 2306.05685), section 3.3, "position bias".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wildreward.metrics import Array

AskedPair = tuple[Any, Any, Any]
"""Prompt, reply A, reply B."""

SAME = 1e-6
"""Two probabilities closer than this are the same answer: what single precision leaves of a difference."""


@dataclass(frozen=True)
class SwapCheck:
    """What came of asking every pair in both orders. Counts add up: consistent + for_first + for_second = pairs."""

    pairs: int
    consistent: int
    """The same reply is preferred in both orders, or neither in either."""
    for_first: int
    """In both orders the reply that came first is preferred (or preferred once and tied once)."""
    for_second: int
    largest_gap: float
    """Largest |P(A better; A, B) - (1 - P(B better; B, A))|: 0 where the answer does not depend on the order."""


def swap_check(compare: Callable[[Sequence[AskedPair]], Sequence[float]], pairs: Sequence[AskedPair]) -> SwapCheck:
    """Ask `compare`, which gives P(the first reply is better) of each pair, in both orders.

    >>> def first_is_better(pairs):
    ...     return [0.9 for _ in pairs]
    >>> found = swap_check(first_is_better, [("q", "yes", "no")])
    >>> found.consistent, found.for_first, round(found.largest_gap, 6)
    (0, 1, 0.8)
    """
    forth_N = np.asarray(compare(pairs), dtype=float)
    back_N = np.asarray(compare([(prompt, b, a) for prompt, a, b in pairs]), dtype=float)
    for asked, answers_N in (("in the given order", forth_N), ("swapped", back_N)):
        if answers_N.shape != (len(pairs),) or not ((answers_N >= 0) & (answers_N <= 1)).all():
            raise ValueError(f"compare, {asked}: expected {len(pairs)} probabilities; found {answers_N.tolist()}")
    # Votes of +1, 0, -1 for the reply shown first; a mirrored answer cancels.
    lean_N = _vote(forth_N) + _vote(back_N)
    return SwapCheck(
        pairs=len(pairs),
        consistent=int((lean_N == 0).sum()),
        for_first=int((lean_N > 0).sum()),
        for_second=int((lean_N < 0).sum()),
        largest_gap=float(np.abs(forth_N + back_N - 1).max(initial=0.0)),
    )


def _vote(probabilities_N: Array) -> Array:
    return np.sign(probabilities_N - 1 / 2) * (np.abs(probabilities_N - 1 / 2) > SAME)
