"""The funnel adds up, or says where it does not."""

import json
from collections import Counter
from typing import Any

import pytest

from wildreward.errors import WildrewardError
from wildreward.funnel import Funnel, funnel_lines
from wildreward.samples import Samples
from wildreward.scale import LEVELS


def turn(level: int | None = 3, error: str | None = None, refusal: int | None = None) -> dict[str, Any]:
    empty = {"attempts": 1, "prompt_tokens": 10, "completion_tokens": 2, "refusal_error": None, "cached": None}
    empty |= {"level_probs": None}
    return {"level": level, "error": error, "refusal_verdict": refusal, **empty}


def conversation(
    status: str = "kept", turns: tuple[dict[str, Any], ...] = (), reason: str | None = None
) -> dict[str, Any]:
    skipped = [{"index": 1, "reason": "null_content"}] if status == "kept" else None
    said = {"language": "English", "model": None, "skipped_messages": skipped, "turns": turns}
    return {"status": status, "reason": reason, "written_at_s": 1000.5, **said}


def row(label: int = 1, source: str = "explicit") -> dict[str, Any]:
    messages = [{"role": "user", "content": "a" * 9}, {"role": "assistant", "content": "b" * 2000}]
    named = {"id": f"r/{label}", "level": label, "judged_level": label, "language": "English", "model": "m"}
    return {"label": label, "source": source, "messages": messages, "follow_up": "No.", **named}


def small_funnel() -> Funnel:
    funnel = Funnel(samples=Samples(per_group=2))
    funnel.add_conversation(conversation(turns=(turn(1, refusal=1), turn(3), turn(None, "timeout"))))
    funnel.add_conversation(conversation("no_follow_up"))
    funnel.add_conversation(conversation("quarantined", reason="bad_json"))
    funnel.rows_in += 2
    funnel.refined(1, row())
    funnel.refined(3, row(3))
    funnel.drop("neutral", row(3), "[[3]]")
    funnel.keep(row(), "[[1]]")
    funnel.train += 1
    return funnel


def test_every_conversation_turn_and_row_is_accounted_for() -> None:
    summary = small_funnel().check().summary()
    assert summary["conversations"] == {"in": 3, "kept": 1, "no_follow_up": 1, "quarantined": {"bad_json": 1}}
    assert summary["turns"] == {"in": 3, "labelled": 2, "errors": {"timeout": 1}}
    assert summary["rows"] == {"in": 2, "dropped": {"neutral": 1}, "train": 1, "test": 0}
    assert summary["skipped_messages"] == {"null_content": 1}
    assert summary["judge"] == {"prompt_tokens": 30, "completion_tokens": 6, "attempts": 3, "refusal_verdict_1": 1}
    assert summary["levels"]["judged"] == {"1": 1, "2": 0, "3": 1, "4": 0, "5": 0}
    assert summary["lengths_chars"]["prompt"]["16"] == summary["lengths_chars"]["response"]["2048"] == 1


def test_counts_by_language_and_model_add_up_to_the_whole() -> None:
    funnel = small_funnel()
    for groups in (funnel.by_language.to_dict(), funnel.by_model.to_dict()):
        total = sum((Counter(counts) for counts in groups.values()), Counter[str]())
        assert (total["conversations"], total["turns"], total["errors"], total["rows"]) == (2, 3, 1, 1)
        assert [total[f"judged_{level}"] for level in LEVELS] == [funnel.judged_levels[level] for level in LEVELS]
        assert [total[f"refined_{level}"] for level in LEVELS] == [funnel.refined_levels[level] for level in LEVELS]
    assert funnel.by_model.column("turns") == {"unknown": 3}


def test_a_row_that_is_taken_back_is_dropped_everywhere() -> None:
    funnel = small_funnel()
    funnel.train -= 1
    funnel.take_back(row(), "duplicate")
    summary = funnel.check().summary()
    assert summary["rows"] == {"in": 2, "dropped": {"duplicate": 1, "neutral": 1}, "train": 0, "test": 0}
    assert (summary["classes"], summary["sources"], summary["languages"]["rows"]) == ({}, {}, {})
    assert "class_1" not in summary["by_model"]["m"]
    assert {group: len(rows) for group, rows in funnel.samples.shown().items()} == {
        "dropped: duplicate": 1,
        "dropped: neutral": 1,
    }


def test_requests_beyond_one_for_each_question_are_counted() -> None:
    funnel = Funnel()
    turns = [turn() | {"attempts": attempts} for attempts in (1, 3, 99, None)] + [turn(1, refusal=1) | {"attempts": 3}]
    unverified = turn(1) | {"attempts": 2, "refusal_error": "timeout"}
    funnel.add_conversation(conversation(turns=(*turns, unverified)))
    assert funnel.summary()["judge_requests_beyond_one"] == {"0": 3, "1": 1, "2": 1, "10": 1}
    assert funnel.summary()["refusal_errors"] == {"timeout": 1}


def test_the_time_of_judging_is_counted_and_is_not_in_the_summary() -> None:
    funnel = small_funnel()
    assert funnel.timeline.shown() == [(1000, 1, 3.0)]
    assert "1000" not in json.dumps(funnel.summary())


@pytest.mark.parametrize(
    ("field", "level"),
    [("kept", "conversations"), ("labelled", "turns"), ("train", "rows"), ("rows_in", "labelled turns as rows")],
)
def test_a_level_that_does_not_add_up_is_named(field: str, level: str) -> None:
    funnel = small_funnel()
    setattr(funnel, field, getattr(funnel, field) + 1)
    with pytest.raises(WildrewardError, match=level):
        funnel.check()


def test_a_row_without_a_class_count_is_noticed() -> None:
    funnel = small_funnel()
    funnel.classes.clear()
    with pytest.raises(WildrewardError, match="rows by class: in 1, accounted for 0"):
        funnel.check()


def test_a_row_that_is_taken_back_is_counted_as_if_it_had_been_dropped_at_once() -> None:
    funnel, never_kept = small_funnel(), small_funnel()
    funnel.rows_in, never_kept.rows_in = 3, 3
    funnel.keep(row(label=2, source="hindsight"))
    funnel.take_back(row(label=2, source="hindsight"), "user_cap")
    never_kept.drop("user_cap", row(label=2, source="hindsight"))
    assert funnel == never_kept


def test_parts_counted_apart_and_merged_give_the_whole() -> None:
    whole = small_funnel()
    whole.add_conversation(conversation("no_follow_up"))
    other = Funnel()
    other.add_conversation(conversation("no_follow_up"))
    assert small_funnel().merge(other) == whole


def test_the_printed_table_has_a_line_for_each_reason() -> None:
    lines = funnel_lines(small_funnel().summary())
    assert any("quarantined: bad_json" in line for line in lines)
    assert sum(line.startswith(("conversations", "turns", "rows")) for line in lines) == 3
