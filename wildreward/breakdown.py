"""Counts by group (a language, a model), of which a log may name any number: bounded, and added up over tasks."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_GROUPS = 1000
"""Groups counted apart. Up to so many the counts are exact; beyond, the smallest so far are one group, and which ones
these are depends on how the run was cut into parts."""

MAX_NAME_CHARS = 80

OTHERS = "all others"
UNKNOWN = "unknown"


@dataclass
class Breakdown:
    """Group -> column -> count."""

    groups: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, group: str | None, column: str, by: int = 1) -> None:
        """Count `by` more in a column of a group; a group without a name is `unknown`.

        >>> found = Breakdown()
        >>> found.count("English", "turns", 2); found.count(None, "turns")
        >>> found.to_dict()
        {'English': {'turns': 2}, 'unknown': {'turns': 1}}
        """
        name = (group or UNKNOWN)[:MAX_NAME_CHARS]
        if name not in self.groups:
            self.groups[name] = Counter()
            self._fold()
            name = name if name in self.groups else OTHERS
        self.groups[name][column] += by

    def __add__(self, other: "Breakdown") -> "Breakdown":
        made = Breakdown({name: Counter(counts) for name, counts in self.groups.items()})
        for name, counts in other.groups.items():
            made.groups.setdefault(name, Counter()).update(counts)
        made._fold()
        return made

    def __sub__(self, other: "Breakdown") -> "Breakdown":
        """Take back what was counted before under the same names."""
        made = self + Breakdown()
        for name, counts in other.groups.items():
            made.groups[name if name in made.groups else OTHERS].subtract(counts)
        return made

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Largest group first, then by name."""
        return {name: {key: n for key, n in sorted(counts.items()) if n} for name, counts in self._by_size(self.groups)}

    def column(self, name: str) -> dict[str, int]:
        """One column of every group that has something in it, the most first."""
        found = {group: Counter({name: counts[name]}) for group, counts in self.groups.items() if counts[name]}
        return {group: counts[name] for group, counts in self._by_size(found)}

    def _fold(self) -> None:
        """Bring the smallest groups together once there are too many: half of them, so that it happens rarely."""
        if len(self.groups) <= MAX_GROUPS:
            return
        others = self.groups.pop(OTHERS, Counter())
        ordered = self._by_size(self.groups)
        for _, counts in ordered[MAX_GROUPS // 2 :]:
            others.update(counts)
        self.groups = dict(ordered[: MAX_GROUPS // 2]) | {OTHERS: others}

    @staticmethod
    def _by_size(groups: Mapping[str, Counter[str]]) -> list[tuple[str, Counter[str]]]:
        return sorted(groups.items(), key=lambda item: (-item[1].total(), item[0]))


def top(groups: Mapping[str, Mapping[str, int]], most: int) -> dict[str, dict[str, int]]:
    """The first `most` groups of `to_dict`, and the rest as one.

    >>> top({"a": {"n": 3}, "b": {"n": 2}, "c": {"n": 1, "m": 1}}, 1)
    {'a': {'n': 3}, 'all others': {'n': 3, 'm': 1}}
    """
    named = [name for name in groups if name != OTHERS][:most]
    rest: Counter[str] = Counter()
    for name, counts in groups.items():
        if name not in named:
            rest.update(counts)
    return {name: dict(groups[name]) for name in named} | ({OTHERS: dict(rest)} if rest else {})
