"""Replies, and pairs of them, as columns of numbers: what every measure of pairs is made of, whatever the set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wildreward.formatting import FEATURES
from wildreward.metrics import Array

CHANCE = 0.5


@dataclass(frozen=True)
class ReplyColumns:
    """Scores, lengths in characters and counts of markdown of N replies."""

    score_N: Array
    chars_N: Array
    formats: Mapping[str, Array]

    @classmethod
    def of(cls, items: Sequence[Mapping[str, Any]], suffix: str = "") -> "ReplyColumns":
        """From items with fields score, chars and those of FEATURES, all with the same suffix."""

        def column(name: str) -> Array:
            return np.array([item[name + suffix] for item in items])

        formats = {name: column(name) for name in FEATURES}
        return cls(column("score"), column("chars"), formats | {"formatting": np.sum(list(formats.values()), axis=0)})

    def at(self, places: Array) -> "ReplyColumns":
        """The replies at these places, in that order."""
        formats = {name: counts_N[places] for name, counts_N in self.formats.items()}
        return ReplyColumns(self.score_N[places], self.chars_N[places], formats)


@dataclass(frozen=True)
class PairColumns:
    """The better and the worse replies of N pairs, in the same order."""

    better: ReplyColumns
    worse: ReplyColumns

    @property
    def margin(self) -> Array:
        """(N,) score of the better reply minus that of the worse one."""
        return self.better.score_N - self.worse.score_N

    @property
    def longer_by(self) -> Array:
        """(N,) characters by which the better reply is longer."""
        return self.better.chars_N - self.worse.chars_N

    def more_by(self, feature: str) -> Array:
        """(N,) by how much the better reply has more of one of FEATURES, or of all of them together ("formatting")."""
        return self.better.formats[feature] - self.worse.formats[feature]

    def both(self, name: str) -> Array:
        """(2N,) `score_N` or `chars_N` of the better replies, then of the worse ones."""
        return np.concatenate([getattr(self.better, name), getattr(self.worse, name)])
