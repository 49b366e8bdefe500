"""`label` end to end as a user runs it, on real conversations repeated with new ids: time, and memory at several sizes.

    python -m tests.benchmarks.label_throughput ../shared/data/wildchat --judge openai --conversations 2680
    python -m tests.benchmarks.label_throughput ../shared/data/wildchat --conversations 3000 30000

Prints a line of JSON for each size. `wall_s` is the whole process: interpreter, imports, cluster start and stop;
`pipeline_s` is what summary.json counts: judging (with its actors and the embedder) and making rows; `cpu_s` is
processor time by process name. Peak memory, sampled twice a second, is anonymous resident memory (RssAnon of /proc:
neither files nor the shared memory of the object store) of the driver, and of all Ray workers together;
`object_store_mb` is the memory behind the object store's files. The judge is the lexicon, or behind `--judge openai`
the zero-latency server of loopback_judge.py. Flags that are not listed here go to label.
"""

import argparse
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for one benchmark
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.loopback_judge import loopback_judge
from wildreward import storage
from wildreward.conversations import Conversation, read_conversation

FILE_ROWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+")
    parser.add_argument("--conversations", type=int, nargs="+", default=[2680])
    parser.add_argument("--judge", choices=["lexicon", "openai"], default="lexicon")
    parser.add_argument("--most-turns", type=int, help="leave out conversations with more turns that can be judged")
    args, flags = parser.parse_known_args()
    with contextlib.ExitStack() as stack:
        if args.judge == "openai":
            url = stack.enter_context(loopback_judge())
            flags += ["--judge", "openai", "--judge-url", url, "--judge-model", "loopback"]
            flags += ["--judge-cache", "none"]  # the conversations repeat: it would answer nine questions of ten
        for size in args.conversations:
            with tempfile.TemporaryDirectory() as folder:
                repeat(args.input, size, Path(folder, "chats"), args.most_turns)
                print(json.dumps(measured(Path(folder), flags)), flush=True)


def repeat(patterns: Sequence[str], count: int, folder: Path, most_turns: int | None = None) -> None:
    """`count` conversations in files of FILE_ROWS: those of the input again and again, each with its own hash."""
    folder.mkdir()
    columns = ["conversation", "model", "language"]
    source = pa.concat_tables([pq.read_table(path, columns=columns) for path in storage.expand(patterns, [".parquet"])])
    rows = itertools.cycle(row for row in range(len(source)) if most_turns is None or turns(source, row) <= most_turns)
    for number, first in enumerate(range(0, count, FILE_ROWS)):
        size = min(FILE_ROWS, count - first)
        table = source.take(list(itertools.islice(rows, size)))
        hashes = pa.array([f"{first + offset:032x}" for offset in range(size)])
        pq.write_table(table.append_column("conversation_hash", hashes), folder / f"{number:05d}.parquet")


def turns(table: pa.Table, row: int) -> int:
    found = read_conversation(table.slice(row, 1).to_pylist()[0])
    return len(found.turns) if isinstance(found, Conversation) else 0


def measured(folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Run `label` as a process and watch it."""
    paths = ["--input", str(folder / "chats"), "--output", str(folder / "out"), "--address", "local"]
    started = time.monotonic()
    process = psutil.Popen([sys.executable, "-m", "pipelines.label", *paths, *flags], stdout=subprocess.DEVNULL)
    peak = {"driver_mb": 0, "workers_mb": 0, "object_store_mb": 0, "object_store_limit_mb": 0}
    cpu_s: dict[psutil.Process, tuple[str, float]] = {}
    while process.poll() is None:
        peak |= {name: max(peak[name], value) for name, value in memory_mb(process).items()}
        cpu_s |= processor_s([process, *descendants(process)])
        time.sleep(0.5)
    wall_s = time.monotonic() - started
    if process.returncode:
        raise SystemExit(process.returncode)
    summary = json.loads((folder / "out" / "summary.json").read_text())
    return figures(summary, wall_s) | peak | {"cpu_s": by_name(cpu_s.values())}


def figures(summary: dict[str, Any], wall_s: float) -> dict[str, Any]:
    turns, seconds = summary["turns"]["in"], summary["seconds"]
    pipeline_s = seconds["feedback"] + seconds["rows"]
    return {
        "conversations": summary["conversations"]["in"],
        "turns": turns,
        "labelled": summary["turns"]["labelled"],
        "requests": summary["judge"].get("attempts", 0),
        "levels": list(summary["levels"]["judged"].values()),
        "wall_s": round(wall_s, 1),
        "pipeline_s": round(pipeline_s, 1),
        "feedback_s": seconds["feedback"],
        "rows_s": seconds["rows"],
        "turns_per_s": round(turns / wall_s, 1),
        "feedback_turns_per_s": round(turns / seconds["feedback"], 1),
    }


def processor_s(processes: Sequence[psutil.Process]) -> dict[psutil.Process, tuple[str, float]]:
    """Name and processor time, so far, of those that live."""
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process] = process.name(), times.user + times.system
    return found


def by_name(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for name, seconds in times:
        total[name] += seconds  # type: ignore[assignment] # a sum of floats
    return {name: round(seconds, 1) for name, seconds in total.most_common(12)}


def memory_mb(driver: psutil.Process) -> dict[str, int]:
    found = {"driver_mb": status_kb(driver, "RssAnon") // 1024, "workers_mb": 0}
    for process in descendants(driver):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name().startswith("ray::"):
                found["workers_mb"] += status_kb(process, "RssAnon") // 1024
            if process.name() == "raylet":
                found["object_store_mb"] = store_bytes(process) // 2**20
                limit = re.search(r"object_store_memory=(\d+)", " ".join(process.cmdline()))
                found["object_store_limit_mb"] = int(limit[1]) // 2**20 if limit else 0
    return found


def descendants(driver: psutil.Process) -> list[psutil.Process]:
    try:
        return list(driver.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def store_bytes(raylet: psutil.Process) -> int:
    """Memory behind the files of the object store: what was ever touched of them; their size is the limit."""
    files = [f"/proc/{raylet.pid}/fd/{name}" for name in os.listdir(f"/proc/{raylet.pid}/fd")]
    found = {}
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            if "plasma" in os.readlink(path):
                stat = os.stat(path)
                found[stat.st_ino] = 512 * stat.st_blocks
    return sum(found.values())


def status_kb(process: psutil.Process, name: str) -> int:
    """A line of /proc/PID/status; 0 when the process is gone."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    line = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(line[1]) if line else 0


if __name__ == "__main__":
    main()
