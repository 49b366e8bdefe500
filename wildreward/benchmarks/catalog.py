"""Benchmarks by name: `--input rm-bench` reads it from the Hub, `--input rm-bench=PATH` from local files.

PATH is a file or a directory; in a directory (a clone of the data set, or of the repository) the files to take are
found by name and columns. What a Hub path is made of was looked up in the cards of the data sets.
"""

import difflib
import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from wildreward import storage
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.judgebench import JudgeBench
from wildreward.benchmarks.ppe_correctness import PPECorrectness
from wildreward.benchmarks.ppe_human import PPEHuman
from wildreward.benchmarks.rewardbench import RewardBench
from wildreward.benchmarks.rewardbench2 import RewardBench2
from wildreward.benchmarks.rmbench import RMBench
from wildreward.errors import DataError, UsageError
from wildreward.records import columns_of

HUB = "hf://datasets"
SUFFIXES = (".parquet", ".jsonl", ".json")


@dataclass(frozen=True)
class Benchmark:
    """Where the files of a benchmark are."""

    kind: type[EvaluationSet]
    hub: tuple[str, ...]
    """Globs below HUB."""
    prefer: str = "*"
    """Name of the files to take from a directory that also holds others of the same columns (another split, parts of a
    whole); all of the right columns where none has that name."""


BENCHMARKS = {
    "rewardbench": Benchmark(RewardBench, ("allenai/reward-bench/data/filtered-*.parquet",), "filtered*"),
    "rewardbench2": Benchmark(RewardBench2, ("allenai/reward-bench-2/data/test-*.parquet",)),
    "rm-bench": Benchmark(RMBench, ("THU-KEG/RM-Bench/**/total_dataset.json",), "total_dataset*"),
    "judgebench": Benchmark(JudgeBench, ("ScalerLab/JudgeBench/data/gpt-*",), "*gpt-*"),
    "judgebench-claude": Benchmark(JudgeBench, ("ScalerLab/JudgeBench/data/claude-*",), "*claude*"),
    "ppe-human": Benchmark(PPEHuman, ("lmarena-ai/PPE-Human-Preference-V1/data/test-*.parquet",)),
    "ppe-correctness": Benchmark(
        PPECorrectness,
        tuple(
            f"lmarena-ai/PPE-{name}-Best-of-K/data/train-*.parquet"
            for name in ("MMLU-Pro", "MATH", "GPQA", "MBPP-Plus", "IFEval")
        ),
    ),
}


def named(given: str) -> tuple[str, list[str]] | None:
    """(name, files) of `NAME` or `NAME=PATH`; None for what names no benchmark. A path that exists is a path.

    Raises UsageError for a benchmark without files, and says how to give local ones.
    """
    name, is_local, path = given.partition("=")
    benchmark = BENCHMARKS.get(name.lower())
    if benchmark is None or os.path.exists(given):
        return None
    return name.lower(), _local(name, benchmark, path) if is_local else _from_hub(name, benchmark)


def suggestion(given: str) -> str:
    """What to say of an input without files that looks like a name."""
    if re.fullmatch(r"[\w-]+(=.*)?", given) is None:
        return ""
    close = difflib.get_close_matches(given.partition("=")[0].lower(), BENCHMARKS, n=1)
    meant = f"; did you mean {close[0]}?" if close else "."
    return f"{meant} Benchmarks known by name: {', '.join(BENCHMARKS)}"


def _local(name: str, benchmark: Benchmark, path: str) -> list[str]:
    files = storage.expand([path], SUFFIXES)
    fitting = [file for file in files if benchmark.kind.recognises(_columns(file))]
    if not fitting:
        raise UsageError(
            f"--input {name}={path}: none of its {len(files)} files has the columns of {name}: "
            f"{', '.join(benchmark.kind.needs)}"
        )
    return [file for file in fitting if fnmatch.fnmatch(os.path.basename(file), benchmark.prefer)] or fitting


def _columns(path: str) -> Iterable[str]:
    """None for a file beside the data that is no table: it cannot be a file of the benchmark."""
    try:
        return columns_of(path)
    except DataError:
        return ()


def _from_hub(name: str, benchmark: Benchmark) -> list[str]:
    """Files of every glob, all of them or none. Raises UsageError naming the glob without files and why."""
    files = []
    for pattern in benchmark.hub:
        where = f"{HUB}/{pattern}"
        try:
            found = storage.find(where, SUFFIXES)
        except storage.unreachable() as error:
            raise UsageError(_help(name, where, f"{type(error).__name__}: {error}")) from error
        if not found:
            raise UsageError(_help(name, where, "no file there"))
        files += found
    return files


def _help(name: str, where: str, why: str) -> str:
    said = " ".join(why.split())[:300]
    return (
        f"--input {name}: {where} cannot be read: {said}. With a copy of the files no Hub is needed: "
        f"--input {name}=PATH (a file or directory)"
    )
