"""The topic measure against WildReward's way of embedding, on real follow-ups: what each step of the difference gives.

    python -m tests.benchmarks.embedding_speed ../shared/data/wildchat

WildReward encodes two sentences per call, for every pair of neighbouring turns. Here the follow-ups of a block are
encoded together, each once, without padding, in the CPU's fastest arithmetic, and only for pairs that hindsight can
use: a neutral turn with an explicit positive in its window. The levels that decide this are drawn in WildReward's
shares (loopback_judge.py), by the text. One thread, and processor time. Prints a line of JSON for each way:
milliseconds for each pair of neighbouring turns, all in one run and one process.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow.parquet as pq

from pipelines.conversation_files import Record
from pipelines.conversation_source import feedback_row
from pipelines.topics import _follow_up, _pairs
from tests.benchmarks.loopback_judge import level_of
from wildreward import storage
from wildreward.embedder import Embedder

WINDOW = 2
SLOW_SHARE = 4
"""The slow ways are timed on every fourth conversation: their cost for a pair does not depend on how many there are."""


def main() -> None:
    import torch

    torch.set_num_threads(1)
    rows = conversations(sys.argv[1:])
    neighbours = [[text_pair(row, n, n + 1) for n in range(len(row["turns"]) - 1)] for row in rows]
    few = [pair for pairs in neighbours[::SLOW_SHARE] for pair in pairs]
    every = [pair for pairs in neighbours for pair in pairs]
    needed = [text_pair(row, *pair) for row in rows for pair in _pairs(row, WINDOW)]
    exact, fast = Embedder(dtype="float32"), Embedder()
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "two sentences per call": (lambda: [exact.encode(pair) for pair in few], len(few)),
        "a block at once, each text once": (lambda: exact.encode(flat(few)), len(few)),
        "and in the CPU's fastest arithmetic": (lambda: fast.encode(flat(every)), len(every)),
        "and only pairs hindsight can use": (lambda: fast.encode(flat(needed)), len(every)),
    }
    exact.encode(["warm"])
    fast.encode(["warm"])
    first = 0.0
    print(json.dumps({"conversations": len(rows), "neighbouring pairs": len(every), "pairs needed": len(needed)}))
    for name, (way, pairs) in ways.items():
        started = time.process_time()
        way()
        ms = 1000 * (time.process_time() - started) / pairs
        first = first or ms
        print(json.dumps({"way": name, "ms_per_pair": round(ms, 3), "times_as_fast": round(first / ms, 1)}), flush=True)


def conversations(patterns: Sequence[str]) -> list[dict[str, Any]]:
    """FEEDBACK rows with a level for each turn."""
    rows = []
    for path in storage.expand(patterns, [".parquet"]):
        for number, value in enumerate(pq.read_table(path).to_pylist()):
            row = feedback_row(path, Record(number, value))
            if row["status"] == "kept":
                rows.append(row)
                for place, turn in enumerate(row["turns"]):
                    turn["level"] = level_of(_follow_up(row, place).encode())
    return rows


def text_pair(row: dict[str, Any], left: int, right: int) -> tuple[str, str]:
    return _follow_up(row, left), _follow_up(row, right)


def flat(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [text for pair in pairs for text in pair]


if __name__ == "__main__":
    main()
