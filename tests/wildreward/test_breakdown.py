"""Counts by group: exact up to many groups, bounded beyond, and the same whatever was counted first."""

from collections import Counter

from wildreward import breakdown
from wildreward.breakdown import MAX_GROUPS, OTHERS, Breakdown


def made(counts: dict[str, int]) -> Breakdown:
    found = Breakdown()
    for name, turns in counts.items():
        found.count(name, "turns", turns)
    return found


def test_parts_added_up_in_any_order_are_the_whole() -> None:
    a, b, c = made({"x": 3, "y": 1}), made({"y": 4, "z": 2}), made({"x": 1})
    assert (a + b) + c == c + (b + a) == made({"x": 4, "y": 5, "z": 2})
    assert a == made({"x": 3, "y": 1})  # adding leaves the parts as they were
    assert list((a + b + c).to_dict()) == ["y", "x", "z"]


def test_any_number_of_names_takes_bounded_room_and_loses_no_count() -> None:
    found = made({"often": 50})
    for number in range(3 * MAX_GROUPS):
        found.count(f"model {number}", "turns")
    found = found + made({f"other {number}": 1 for number in range(MAX_GROUPS)})
    assert len(found.groups) <= MAX_GROUPS
    total = sum((Counter(counts) for counts in found.to_dict().values()), Counter[str]())
    assert total["turns"] == 50 + 4 * MAX_GROUPS
    assert found.groups["often"]["turns"] == 50
    assert found.groups[OTHERS]["turns"] > 2 * MAX_GROUPS


def test_a_long_name_is_cut() -> None:
    [name] = made({"n" * 10_000: 1}).groups
    assert len(name) == breakdown.MAX_NAME_CHARS
