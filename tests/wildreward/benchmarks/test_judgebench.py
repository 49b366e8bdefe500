"""JudgeBench's reward-model rule against numbers worked out by hand."""

import pytest

from tests.wildreward.benchmarks.rows import SOURCES, judgebench_row
from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks import judgebench
from wildreward.benchmarks.evaluation_set import SetResult
from wildreward.benchmarks.judgebench import GPT_COUNTS, JudgeBench


def _measured(rows: list[dict[str, object]], a_and_b: list[tuple[float, float]]) -> SetResult:
    ordered = [pair if row["label"] == "A>B" else pair[::-1] for row, pair in zip(rows, a_and_b, strict=True)]
    return take(made(JudgeBench, rows), [value for pair in ordered for value in pair]).measure(QUICK)


def _value(result: SetResult, name: str) -> float | None:
    return result.metrics[name].estimate.value


def test_fields_and_sizes_are_the_official_ones() -> None:
    assert set(JudgeBench.needs) <= set(judgebench_row("1", "livebench-math", "A>B"))
    assert sum(GPT_COUNTS.values()) == 350


def test_the_label_says_which_reply_is_right() -> None:
    found = made(JudgeBench, [judgebench_row("1", "livebench-math", "B>A")])
    assert [messages[-1]["content"] for messages in found.conversations] == ["second", "first reply"]


def test_a_tie_counts_as_b_over_a_as_in_the_official_judge() -> None:
    rows = [judgebench_row(str(i), "livebench-math", label) for i, label in enumerate(["A>B", "B>A", "A>B", "B>A"])]
    result = _measured(rows, [(2, 1), (2, 1), (1, 1), (1, 1)])
    assert _value(result, "overall") == 2 / 4  # the first, and the tie labelled B>A
    assert _value(result, "accuracy") == 1 / 4
    assert result.extra["ties"] == 2


def test_sources_are_measured_alone_and_the_overall_counts_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [judgebench_row(str(i), source, "A>B") for i, source in enumerate([*SOURCES, "livebench-math"])]
    result = _measured(rows, [(2, 1), (1, 2), (2, 1), (2, 1), (1, 2)])
    assert {name: _value(result, name) for name in SOURCES.values()} == {
        "knowledge": 1.0,
        "reasoning": 0.0,
        "math": 0.5,
        "coding": 1.0,
    }
    assert _value(result, "overall") == 3 / 5
    assert _value(result, "mean_of_sources") == 2.5 / 4
    assert _value(result, "worst_source") == 0.0
    assert "knowledge has 1 rows (154 expected)" in result.notes[0]
    monkeypatch.setattr(judgebench, "GPT_COUNTS", {"knowledge": 1, "reasoning": 1, "math": 2, "coding": 1})
    assert _measured(rows, [(2, 1)] * 5).notes == ()


def test_an_absent_source_leaves_the_mean_over_sources_null() -> None:
    result = _measured([judgebench_row("1", "livecodebench", "A>B")], [(2, 1)])
    assert (_value(result, "mean_of_sources"), _value(result, "coding")) == (None, 1.0)
    assert "math is absent (56 rows expected)" in result.notes[0]


def test_the_claude_split_is_known_by_its_size() -> None:
    rows = [judgebench_row("1", "livecodebench", "A>B", "claude-3-5-sonnet-20240620")]
    assert _measured(rows, [(2, 1)]).notes == (
        "PARTIAL, not comparable with published numbers: it has 1 rows (270 expected)",
    )


def test_other_labels_and_missing_fields_are_counted() -> None:
    rows = [
        judgebench_row("1", "livebench-math", "A>B"),
        judgebench_row("2", "livebench-math", "A=B"),
        judgebench_row("3", "livebench-math", "A>B") | {"response_B": ""},
        judgebench_row("4", "livebench-math", "A>B") | {"question": None},
    ]
    assert take(made(JudgeBench, rows), [2, 1]).skipped == {
        "empty_response": 1,
        "label_not_A>B_or_B>A": 1,
        "missing_question": 1,
    }
