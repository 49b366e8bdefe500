"""Published numbers stand beside the user's only where a whole official benchmark was run."""

import io
from dataclasses import replace
from typing import Any

from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.benchmarks.pairs import Pairs
from wildreward.evaluation import Evaluation
from wildreward.reference_results import COLUMNS, REFERENCES, print_references


def _run(kind: str, metric: str, complete: bool) -> tuple[EvaluationSet, SetResult]:
    rows: list[dict[str, Any]] = [{"prompt": "hi", "chosen": "a", "rejected": "b"} for _ in range(8)]
    named = type("Named", (Pairs,), {"kind": kind})
    found = take(made(named, rows), [2.0, 1.0] * 6 + [1.0, 2.0] * 2)
    result = found.measure(QUICK)
    extra = {"official": {"complete": complete}}
    return found, replace(result, metrics={metric: result.metrics["accuracy"]}, extra=extra)


def _shown(sets: dict[str, tuple[EvaluationSet, SetResult]]) -> str:
    stream = io.StringIO()
    print_references(Evaluation(sets, {}), stream)
    return stream.getvalue()


def test_the_users_model_is_first_and_each_number_has_its_source() -> None:
    shown = _shown({"rb": _run("rewardbench", "overall", True), "jb": _run("judgebench", "overall", True)})
    lines = shown.splitlines()
    assert lines[2].split() == ["model", "RewardBench", "JudgeBench", "source"]
    assert lines[3].split() == ["this", "model", "75.0", "75.0"]
    assert lines[4].split() == ["WildReward", "86.0", "66.0", "[1]"]
    assert "[1] wizwand.com" in shown
    assert "arXiv 2507.01352" in shown


def test_a_partial_benchmark_and_a_set_of_ones_own_get_no_published_numbers() -> None:
    assert not _shown({"rb": _run("rewardbench", "overall", False)})
    found, result = _run("pairs", "accuracy", False)
    assert not _shown({"mine": (found, replace(result, extra={}))})


def test_every_published_number_is_a_percentage_in_a_known_column_and_stands_once() -> None:
    seen = set()
    for reference in REFERENCES:
        assert reference.source
        for column, percent in reference.percent.items():
            assert column in COLUMNS
            assert 25 < percent < 100
            assert (reference.model, reference.source, column) not in seen
            seen.add((reference.model, reference.source, column))
