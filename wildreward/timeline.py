"""When turns were judged, as counts in intervals of time: bounded however long a run takes, and added up over tasks.

Times are those at which a block of conversations was written, in seconds since 1970 (UTC).
"""

from collections import Counter
from dataclasses import dataclass, field

MAX_INTERVALS = 512


@dataclass
class Timeline:
    """Turns in the intervals [i * width_s, (i + 1) * width_s). The width is the least power of two for which at most
    MAX_INTERVALS hold a turn: so it is the same however the blocks were dealt to tasks."""

    width_s: int = 1
    turns: Counter[int] = field(default_factory=Counter)

    def add(self, time_s: float, turns: int) -> None:
        if turns:
            self.turns[int(time_s // self.width_s)] += turns
            self._widen()

    def __add__(self, other: "Timeline") -> "Timeline":
        width_s = max(self.width_s, other.width_s)
        made = Timeline(width_s, self.at(width_s) + other.at(width_s))
        made._widen()
        return made

    def at(self, width_s: int) -> Counter[int]:
        """The counts in wider intervals, of a multiple of `self.width_s`.

        >>> Timeline(1, Counter({0: 1, 3: 2, 4: 5})).at(4)
        Counter({1: 5, 0: 3})
        """
        made: Counter[int] = Counter()
        for interval, turns in self.turns.items():
            made[interval * self.width_s // width_s] += turns
        return made

    def shown(self, most: int = 120) -> list[tuple[int, int, float]]:
        """At most `most` intervals in a row from the first turn to the last: (start, seconds, turns per second).

        An interval in which nothing was judged (the run stood, or waited) has a rate of 0.

        >>> Timeline(1, Counter({10: 4, 12: 8})).shown()
        [(10, 1, 4.0), (11, 1, 0.0), (12, 1, 8.0)]
        """
        if not self.turns:
            return []
        width_s = self.width_s
        while max(found := self.at(width_s)) - min(found) >= most:
            width_s *= 2
        return [(place * width_s, width_s, found[place] / width_s) for place in range(min(found), max(found) + 1)]

    def _widen(self) -> None:
        while len(self.turns) > MAX_INTERVALS:
            self.turns = self.at(2 * self.width_s)
            self.width_s *= 2
