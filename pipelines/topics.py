"""The topic stage: how near two follow-ups are, for the pairs of turns hindsight may join.

The follow-ups of a whole block are embedded in one call, each once however many pairs it is in. N: two for each pair,
one after the other; D: dimensions.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.judging import with_turns
from wildreward.embedder import Embedder
from wildreward.hindsight import candidate_pairs
from wildreward.settings.label import LabelSettings

THREADS = 2
"""The model is small: more threads would wait for each other. A large cluster has more actors instead."""


class MeasureTopics:
    """Fills in `similarities` of the turns of FEEDBACK rows. Its name is what the Ray dashboard shows."""

    def __init__(self, settings: LabelSettings) -> None:
        self._settings = settings
        self._embedder: Embedder | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block.select(["messages", "turns"]).to_pylist()
        pairs = [(row, pair) for row in rows for pair in _pairs(row, self._settings.hindsight_window_turns)]
        if not pairs:
            return block
        if self._embedder is None:  # most blocks of short conversations have no pair: load the model when it is needed
            self._embedder = _embedder(self._settings.embedder)
        vectors_ND = self._embedder.encode([_follow_up(row, place) for row, pair in pairs for place in pair])
        cosines = (vectors_ND[0::2] * vectors_ND[1::2]).sum(1).tolist()
        for (row, (earlier, later)), cosine in zip(pairs, cosines, strict=True):
            turn = row["turns"][earlier]
            turn["similarities"] = [
                *(turn["similarities"] or ()),
                {"turn": row["turns"][later]["turn"], "cosine": cosine},
            ]
        return with_turns(block, rows)


def _embedder(name: str) -> Embedder:
    import torch

    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))  # Ray allows one for each CPU slot, of which this has few
    return Embedder(name)


def _pairs(row: Mapping[str, Any], window: int) -> Sequence[tuple[int, int]]:
    """Positions in `turns` of (neutral turn, later turn that may lend its label)."""
    levels = {turn["turn"]: turn["level"] for turn in row["turns"] or ()}
    places = {turn["turn"]: place for place, turn in enumerate(row["turns"] or ())}
    return [(places[earlier], places[later]) for earlier, later in candidate_pairs(levels, window)]


def _follow_up(row: Mapping[str, Any], place: int) -> str:
    return str(row["messages"][row["turns"][place]["follow_up_index"]]["content"])
