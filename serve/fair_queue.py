"""Who is scored next: requests take turns, unit by unit, whatever each of them holds. Pure; no clock, no model.

A unit is one text, or the replies to one prompt that are read together. Unit i of a request that comes in round r
belongs to round r + 1 + i, and rounds are served in order. So whoever comes waits, besides for what already runs, for
at most two units of each request that waits (one of this round, one of the next), not for all they hold. And nothing
starves: a unit has its round from the start, and only finitely much can come before it.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Units of work with their sizes in tokens."""

    def __init__(self, is_dropped: Callable[[T], bool] = lambda _: False) -> None:
        self.tokens = 0
        """Of all that waits, dropped ones included until their turn."""
        self._heap: list[tuple[int, int, int, T]] = []
        self._round = 0
        self._arrivals = count()
        self._is_dropped = is_dropped

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, units: Iterable[tuple[int, T]]) -> None:
        """One request's units in order, each with its tokens."""
        for place, (tokens, unit) in enumerate(units):
            heapq.heappush(self._heap, (self._round + 1 + place, next(self._arrivals), tokens, unit))
            self.tokens += tokens

    def take(self, batch_tokens: int, takers: int = 1) -> list[T]:
        """The next units that fit together, at least one if any waits; a share of what waits if there are more takers.

        >>> queue = FairQueue()
        >>> queue.add((100, f"long {i}") for i in range(9))
        >>> queue.add([(10, "short")])
        >>> queue.take(batch_tokens=250)
        ['long 0', 'short', 'long 1']
        """
        limit = min(batch_tokens, math.ceil(self.tokens / takers))
        taken: list[T] = []
        used = 0
        while self._heap:
            place, _, tokens, unit = self._heap[0]
            dropped = self._is_dropped(unit)
            if taken and not dropped and used + tokens > limit:
                break
            heapq.heappop(self._heap)
            self.tokens -= tokens
            if not dropped:
                self._round, used = place, used + tokens
                taken.append(unit)
        return taken
