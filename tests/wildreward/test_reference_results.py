"""Published numbers stand beside the user's only where a whole official benchmark was run."""

import io
from collections.abc import Sequence

import pytest

from tests.wildreward.benchmarks.rows import official_rows
from tests.wildreward.benchmarks.sets import made, take
from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.benchmarks.inputs import KINDS
from wildreward.benchmarks.judgebench import JudgeBench
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.pairs import Pairs
from wildreward.evaluation import Evaluation
from wildreward.reference_results import COLUMNS, REFERENCES, is_complete, print_references, table

VALUES_ALONE = MeasureOptions(replicates=0)


SCORES = {
    "rewardbench": (2.0, 1.0),
    "rm-bench": (2.0, 1.5, 1.0, 1.1, 1.1, 1.2),
    "judgebench": (2.0, 1.0),
    "ppe-human": (2.0, 1.0),
    "ppe-correctness": (2.0, 1.0, 1.0, 0.0),
}
"""Scores of the replies of every row, in their order; RewardBench 2 has rows of several lengths."""

SHOWN = {
    "rewardbench": {"RewardBench": 100.0},
    "rewardbench2": {"RewardBench 2": 100.2},
    "rm-bench": {"RM-Bench": 66.7, "RM-Bench easy": 33.3, "RM-Bench normal": 66.7, "RM-Bench hard": 100.0},
    "judgebench": {"JudgeBench": 100.0, "JudgeBench, mean of groups": 100.0},
    "ppe-human": {"PPE human": 100.0},
    "ppe-correctness": {"PPE correctness": 100.0},
}
"""What the published columns must say of these scores, in percent. The official Ties score ends at 1.01."""


def _run(kind: str, rows: int | None = None) -> tuple[EvaluationSet, SetResult]:
    """The benchmark at its official size, or its first rows alone."""
    found = made(next(known for known in KINDS if known.kind == kind), official_rows(kind)[:rows])
    if kind == "rewardbench2":
        rights = [int(item["num_correct"]) for item in found.items]
        return _measured(found, [score for right in rights for score in [2.0] * right + [1.0] * 3])
    return _measured(found, SCORES[kind] * (len(found.conversations) // len(SCORES[kind])))


def _measured(found: EvaluationSet, scores: Sequence[float]) -> tuple[EvaluationSet, SetResult]:
    return take(found, scores), found.measure(VALUES_ALONE)


def _shown(sets: dict[str, tuple[EvaluationSet, SetResult]]) -> str:
    stream = io.StringIO()
    print_references(Evaluation(sets, {}), stream)
    return stream.getvalue()


@pytest.mark.parametrize("kind", SHOWN)
def test_a_benchmark_of_the_official_size_stands_in_its_published_columns(kind: str) -> None:
    found, result = _run(kind)
    assert is_complete(result), result.notes
    columns, rows, _ = table({kind: (found, result)})
    own = dict(zip(columns[1:-1], map(float, rows[0][1:-1]), strict=True))
    assert own == SHOWN[kind]
    assert len(rows) > 2
    assert all(any(cell != "-" for cell in row[1:-1]) for row in rows)


def test_the_columns_are_those_of_all_official_benchmarks() -> None:
    assert {kind for kind, _ in COLUMNS.values()} == set(SHOWN)
    assert set(COLUMNS) == {column for columns in SHOWN.values() for column in columns}


def test_the_users_model_is_first_and_each_number_has_its_source() -> None:
    shown = _shown({"rb": _run("rewardbench"), "jb": _run("judgebench")})
    lines = shown.splitlines()
    assert lines[3].split() == ["this", "model", "100.0", "100.0", "100.0"]
    assert lines[4].split() == ["WildReward", "86.0", "66.0", "-", "[1]"]
    assert "[1] wizwand.com" in shown
    assert "arXiv 2507.01352" in shown


def test_a_partial_benchmark_and_a_set_of_ones_own_get_no_published_numbers() -> None:
    assert not _shown({"rb": _run("rewardbench", 2984)})
    rows = [{"prompt": "hi", "chosen": f"a {i}", "rejected": "b"} for i in range(8)]
    assert not _shown({"mine": _measured(made(Pairs, rows), [2.0, 1.0] * 8)})


def test_judgebench_of_claude_is_not_put_beside_numbers_of_the_gpt_split() -> None:
    rows = [row | {"response_model": "claude-3-5-sonnet"} for row in official_rows("judgebench")[:270]]
    claude = _measured(made(JudgeBench, rows), [2.0, 1.0] * 270)
    assert not claude[1].notes
    assert not _shown({"claude": claude})
    assert "JudgeBench" in _shown({"gpt": _run("judgebench"), "claude": claude})


def test_every_published_number_is_a_percentage_in_a_known_column_and_stands_once() -> None:
    seen = set()
    for reference in REFERENCES:
        assert reference.source
        for column, percent in reference.percent.items():
            assert column in COLUMNS
            assert 25 < percent < 100
            assert (reference.model, reference.source, column) not in seen
            seen.add((reference.model, reference.source, column))
