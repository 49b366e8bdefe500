"""Conversations a second through `label` with the lexicon, on real conversations repeated with new ids.

    python tests/benchmarks/label_throughput.py CHATS --conversations 30000

CHATS is a Parquet file, directory or glob. Prints one line of JSON: seconds and rates of judging and of making rows
(without the start of the cluster), and the peak memory of the driver and of all its Ray workers together.
"""

import argparse
import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for one benchmark
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.label import run
from wildreward import storage
from wildreward.cluster import cluster
from wildreward.settings.label import LabelSettings

FILE_ROWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+")
    parser.add_argument("--conversations", type=int, default=30_000)
    parser.add_argument("--window", type=int, default=2, help="hindsight_window_turns; 0 leaves the embedder out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chats, output = Path(folder, "chats"), Path(folder, "labels")
        repeat(args.input, args.conversations, chats)
        settings = LabelSettings(input=(str(chats),), output=str(output), hindsight_window_turns=args.window)
        with cluster("local"), memory() as peak:
            started = time.monotonic()
            run(settings)
            seconds = time.monotonic() - started
        summary = json.loads((output / "summary.json").read_text())
    assert summary["conversations"]["in"] == args.conversations
    print(json.dumps(figures(summary, seconds) | peak))


def repeat(patterns: list[str], count: int, folder: Path) -> None:
    """`count` conversations in files of FILE_ROWS: those of the input again and again, each with its own hash."""
    folder.mkdir()
    source = pa.concat_tables(
        [
            pq.read_table(path, columns=["conversation", "model", "language"])
            for path in storage.expand(patterns, [".parquet"])
        ]
    )
    rows = itertools.cycle(range(len(source)))
    for number, first in enumerate(range(0, count, FILE_ROWS)):
        size = min(FILE_ROWS, count - first)
        table = source.take(list(itertools.islice(rows, size)))
        hashes = pa.array([f"{first + offset:032x}" for offset in range(size)])
        pq.write_table(table.append_column("conversation_hash", hashes), folder / f"{number:05d}.parquet")


def figures(summary: dict[str, Any], seconds: float) -> dict[str, float]:
    conversations, turns = summary["conversations"]["in"], summary["turns"]["in"]
    return {
        "conversations": conversations,
        "turns": turns,
        "seconds": round(seconds, 1),
        "conversations_per_s": round(conversations / seconds, 1),
        "feedback_s": summary["seconds"]["feedback"],
        "rows_s": summary["seconds"]["rows"],
        "feedback_turns_per_s": round(turns / summary["seconds"]["feedback"], 1),
    }


@contextmanager
def memory() -> Iterator[dict[str, float]]:
    """Peak memory in MB: resident of the driver, and the sum of what its Ray workers do not share."""
    peak: dict[str, float] = {"driver_mb": 0, "workers_mb": 0}
    stop = threading.Event()

    def watch() -> None:
        driver = psutil.Process(os.getpid())
        while not stop.wait(0.5):
            workers = [child for child in driver.children(recursive=True) if child.name().startswith("ray::")]
            peak["driver_mb"] = max(peak["driver_mb"], round(driver.memory_info().rss / 2**20))
            peak["workers_mb"] = max(peak["workers_mb"], round(sum(map(_private_bytes, workers)) / 2**20))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield peak
    stop.set()
    thread.join()


def _private_bytes(process: psutil.Process) -> int:
    try:
        info = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return int(info.rss - info.shared)


if __name__ == "__main__":
    main()
