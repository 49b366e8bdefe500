"""Published results of reward models, shown beside a user's model on the benchmarks it was run on completely.

Only numbers that were read, each with the place it was read at; percent. The WildReward paper's own table (arXiv
2602.08829, section 3.2) could not be read where this was written: its row is a third party's listing of it, which gives
one best value a benchmark and does not say of which variant.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TextIO

from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.console import print_table
from wildreward.evaluation import Evaluation
from wildreward.report import Report

WILDREWARD = "wizwand.com/paper/698abc3ec97a0b3e3b5de537 on arXiv 2602.08829: best value of each benchmark, second hand"
SKYWORK = "Skywork-Reward-V2, arXiv 2507.01352, tables 1 and 4 (JudgeBench there: mean over the four groups, table 2)"
RM_BENCH = "github.com/THU-KEG/RM-Bench-Leaderboard, README.md at 5fc0974"

COLUMNS = {
    "RewardBench": ("rewardbench", "overall"),
    "RewardBench 2": ("rewardbench2", "overall"),
    "PPE human": ("ppe-human", "accuracy"),
    "PPE correctness": ("ppe-correctness", "accuracy"),
    "RM-Bench": ("rm-bench", "overall"),
    "RM-Bench easy": ("rm-bench", "easy"),
    "RM-Bench normal": ("rm-bench", "normal"),
    "RM-Bench hard": ("rm-bench", "hard"),
    "JudgeBench": ("judgebench", "overall"),
    "JudgeBench, mean of groups": ("judgebench", "mean_of_sources"),
}
"""Column: kind of evaluation set, and its metric that follows the same rule."""


@dataclass(frozen=True)
class Reference:
    """A published model: percent by column, and where that was read."""

    model: str
    source: str
    percent: Mapping[str, float]


_TABLE_1 = ("RewardBench", "RewardBench 2", "PPE human", "PPE correctness", "RM-Bench", "JudgeBench, mean of groups")
_TABLE_4 = ("RM-Bench easy", "RM-Bench normal", "RM-Bench hard")


def _skywork(model: str, table_1: tuple[float, ...], table_4: tuple[float, ...] = ()) -> Reference:
    percent = dict(zip(_TABLE_1, table_1, strict=True)) | dict(zip(_TABLE_4, table_4, strict=False))
    return Reference(model, SKYWORK, percent)


def _rm_bench(model: str, overall: float, easy: float, normal: float, hard: float) -> Reference:
    return Reference(model, RM_BENCH, dict(zip(("RM-Bench", *_TABLE_4), (overall, easy, normal, hard), strict=True)))


REFERENCES = (
    Reference(
        "WildReward",
        WILDREWARD,
        {
            "RewardBench": 86.0,
            "RM-Bench easy": 83.5,
            "RM-Bench normal": 78.4,
            "RM-Bench hard": 69.7,
            "PPE human": 62.5,
            "PPE correctness": 65.6,
            "JudgeBench": 66.0,
        },
    ),
    _skywork("Llama-3-OffsetBias-RM-8B", (89.0, 64.8, 59.2, 64.1, 71.3, 63.5), (83.9, 73.2, 56.9)),
    _skywork("ArmoRM-Llama3-8B-v0.1", (90.4, 66.5, 60.6, 60.6, 69.2, 59.7), (80.4, 71.5, 55.8)),
    _skywork("Internlm2-20b-reward", (90.2, 56.3, 61.0, 63.0, 72.1, 64.3), (79.4, 74.2, 62.8)),
    _skywork("Skywork-Reward-Llama-3.1-8B-v0.2", (93.1, 71.8, 62.2, 62.5, 64.7, 62.9), (70.5, 74.2, 49.3)),
    _skywork("LDL-Reward-Gemma-2-27B-v0.1", (95.0, 72.5, 62.4, 63.9, 71.0, 64.2), (92.4, 75.2, 45.5)),
    _skywork("Skywork-Reward-Gemma-2-27B-v0.2", (94.3, 75.3, 63.6, 61.9, 67.6, 66.5), (88.9, 71.9, 42.1)),
    _skywork("Llama-3.1-Nemotron-70B", (93.9, 76.7, 64.2, 63.2, 72.2, 65.8), (92.2, 76.5, 47.8)),
    _skywork("INF-ORM-Llama3.1-70B", (95.1, 76.5, 64.2, 64.4, 75.4, 70.2), (92.1, 80.0, 54.0)),
    _skywork("GPT-4o, as a judge", (86.7, 64.9, 67.7, 67.1, 73.1, 59.8)),
    _skywork("Claude-3.5-Sonnet, as a judge", (84.2, 64.7, 67.3, 69.2, 74.5, 64.8)),
    _skywork("Skywork-Reward-V2-Qwen3-0.6B", (85.2, 61.3, 65.3, 68.3, 74.4, 67.6), (90.3, 78.0, 54.8)),
    _skywork("Skywork-Reward-V2-Qwen3-4B", (93.4, 75.5, 69.5, 74.7, 81.6, 69.5), (92.1, 84.7, 67.9)),
    _skywork("Skywork-Reward-V2-Qwen3-8B", (93.7, 78.2, 70.6, 75.1, 82.6, 73.4), (91.9, 85.7, 70.1)),
    _skywork("Skywork-Reward-V2-Llama-3.2-1B", (89.9, 64.3, 66.6, 67.4, 76.3, 65.0), (91.3, 79.9, 57.8)),
    _skywork("Skywork-Reward-V2-Llama-3.1-8B", (96.4, 84.1, 77.3, 83.4, 92.8, 80.0), (97.0, 95.0, 86.5)),
    _rm_bench("Skywork-Reward-Llama-3.1-8B-v0.2", 72.6, 89.3, 75.8, 52.6),
    _rm_bench("Skywork-Reward-Llama-3.1-8B", 70.1, 89.0, 74.7, 46.6),
    _rm_bench("URM-LLama-3.1-8B", 70.0, 84.0, 73.2, 53.0),
    _rm_bench("ArmoRM-Llama3-8B-v0.1", 67.7, 82.2, 71.0, 49.8),
    _rm_bench("internlm2-7b-reward", 67.1, 85.4, 70.7, 45.1),
    _rm_bench("tulu-v2.5-70b-preference-mix-rm", 63.0, 72.8, 65.6, 50.7),
)


def is_complete(result: SetResult) -> bool:
    """Whether the split of an official benchmark that papers report was run as a whole: only then do published numbers
    belong beside it."""
    official = result.extra.get("official")
    return isinstance(official, Mapping) and official["complete"] and official["reported"]


def table(sets: Mapping[str, tuple[EvaluationSet, SetResult]]) -> tuple[list[str], list[list[str]], list[str]]:
    """(columns, rows with the user's model first, sources), of the benchmarks among these that are complete."""
    kinds = {found.kind: result for found, result in sets.values() if is_complete(result)}
    columns = [name for name, (kind, metric) in COLUMNS.items() if kind in kinds and metric in kinds[kind].metrics]
    values = [kinds[kind].metrics[metric].estimate.value for kind, metric in (COLUMNS[name] for name in columns)]
    columns_there = [name for name, value in zip(columns, values, strict=True) if value is not None]
    own = [f"{100 * value:.1f}" for value in values if value is not None]
    if not columns_there:
        return [], [], []
    sources: dict[str, int] = {}
    rows = [["this model", *own, ""]]
    for reference in REFERENCES:
        if any(name in reference.percent for name in columns_there):
            mark = sources.setdefault(reference.source, len(sources) + 1)
            rows.append([reference.model, *(_cell(reference, name) for name in columns_there), f"[{mark}]"])
    return ["model", *columns_there, "source"], rows, [f"[{mark}] {source}" for source, mark in sources.items()]


def _cell(reference: Reference, column: str) -> str:
    return f"{reference.percent[column]:.1f}" if column in reference.percent else "-"


def print_references(evaluation: Evaluation, stream: TextIO | None = None) -> None:
    """Nothing where no official benchmark was run completely."""
    stream = stream or sys.stdout
    columns, rows, sources = table(evaluation.results)
    if rows:
        print("\nPublished results, percent:", file=stream)
        print_table(columns, rows, stream)
        for line in _notes(sources):
            print(line, file=stream)


def add_references(report: Report, evaluation: Evaluation) -> None:
    columns, rows, sources = table(evaluation.results)
    if rows:
        report.table(columns, rows, "Beside published results, percent")
        for line in _notes(sources):
            report.text(line)


def _notes(sources: list[str]) -> Iterator[str]:
    yield from sources
    yield "They were measured by others with their own templates and truncation; differences of a point are no news."
