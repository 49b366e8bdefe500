"""A few rows of each kind to look at: drawn at random, the same ones however a run was cut, merged over tasks.

A row's place in the draw is a hash of its id and the seed; each group keeps the rows of the smallest places. That is a
uniform sample without replacement, and its size does not grow with the run.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_TEXT_CHARS = 600

SPARE = 3
"""So many times more rows are kept than are shown: some may be dropped after all, once compared with others."""

Kept = dict[str, tuple[int, dict[str, Any]]]
"""Row id -> its place and what is shown of it."""


@dataclass
class Samples:
    """At most `per_group` rows of each group."""

    per_group: int = 0
    seed: int = 0
    groups: dict[str, Kept] = field(default_factory=dict)

    def offer(self, group: str, row_id: str, show: Callable[[], dict[str, Any]]) -> None:
        """Take the row in if its place is small enough; `show` is only called then."""
        if not self.per_group:
            return
        place = _place(self.seed, row_id)
        kept = self.groups.setdefault(group, {})
        if len(kept) < self._room or place < max(other for other, _ in kept.values()):
            kept[row_id] = (place, show())
            self._trim(group)

    def withdraw(self, group: str, row_id: str) -> None:
        """A row that may have been taken in is not of its group any more."""
        kept = self.groups.get(group, {})
        kept.pop(row_id, None)
        if not kept:
            self.groups.pop(group, None)

    def __add__(self, other: "Samples") -> "Samples":
        per_group = max(self.per_group, other.per_group)
        made = Samples(per_group, self.seed if self.per_group else other.seed)
        for group in self.groups.keys() | other.groups.keys():
            made.groups[group] = self.groups.get(group, {}) | other.groups.get(group, {})
            made._trim(group)
        return made

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """What was taken of each group, in the order of the draw; groups by name."""
        return {
            group: [shown for _, (_, shown) in _ordered(kept)[: self.per_group]]
            for group, kept in sorted(self.groups.items())
            if kept
        }

    def _trim(self, group: str) -> None:
        self.groups[group] = dict(_ordered(self.groups[group])[: self._room])

    @property
    def _room(self) -> int:
        return (1 + SPARE) * self.per_group


def cut(text: str | None, most: int = MAX_TEXT_CHARS) -> str:
    """The text, or its beginning with a note of how much is missing.

    >>> cut("abcdef", 4), cut("abc", 4), cut(None)
    ('abcd [2 more characters]', 'abc', '')
    """
    text = text or ""
    return text if len(text) <= most else f"{text[:most]} [{len(text) - most:,} more characters]"


def row_sample(row: Mapping[str, Any], raw: str | None) -> dict[str, Any]:
    """What is shown of a WILDFB row (its `label` may be missing) and the judge's `raw` answer; long texts are cut."""
    *_, prompt, response = row["messages"]
    names = ("id", "level", "judged_level", "source", "donor_turn", "label", "language", "model", "judge")
    facts = {name: row.get(name) for name in names if row.get(name) is not None}
    texts = {"prompt": prompt["content"], "reply": response["content"], "follow-up": row["follow_up"], "judge": raw}
    return {"facts": facts, "texts": {name: cut(text) for name, text in texts.items() if text}}


def _ordered(kept: Kept) -> list[tuple[str, tuple[int, dict[str, Any]]]]:
    return sorted(kept.items(), key=lambda item: (item[1][0], item[0]))


def _place(seed: int, row_id: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{row_id}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest())
