"""The report shows what the summary says."""

from typing import Any

from tests.wildreward.test_funnel import small_funnel
from wildreward.label_report import MAX_BARS, funnel_counts, label_report, outcomes


def summary() -> dict[str, Any]:
    return small_funnel().check().summary() | {"seconds": {"feedback": 1.0, "rows": 0.5}}


def test_outcomes_of_a_level_add_up_to_what_came_in() -> None:
    found = outcomes(summary())
    for level in ("conversations", "turns", "rows"):
        counts = {outcome: count for name, outcome, count in found if name == level}
        assert counts.pop("in") == sum(counts.values())
    assert ("messages", "skipped: null_content", 1) in found


def test_each_step_of_the_funnel_is_within_the_one_before() -> None:
    assert funnel_counts(summary()) == {
        "conversations in": 3,
        "conversations with a turn": 1,
        "turns": 3,
        "turns labelled": 2,
        "rows kept": 1,
    }


def test_the_page_is_self_contained_with_its_pictures() -> None:
    many = {f"language {number}": 100 - number for number in range(2 * MAX_BARS)}
    page = label_report(summary() | {"languages": {"conversations": many, "rows": {}}}).html()
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page
    assert "error correction" in page
