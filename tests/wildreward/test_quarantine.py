"""When too much of the input cannot be read."""

from typing import Any

import pytest

from wildreward.quarantine import Tally, objection, too_many
from wildreward.settings.label import LabelSettings


def bad(file: str, row: int | None, reason: str = "bad_json") -> dict[str, Any]:
    return {"status": "quarantined", "source_file": file, "source_row": row, "reason": reason, "detail": "why"}


def tally(*rows: dict[str, Any], good: int = 0) -> Tally:
    made = Tally()
    for row in [*rows, *({"status": "kept"} for _ in range(good))]:
        made.add(row)
    return made


@pytest.mark.parametrize(
    ("bad_rows", "rows", "given", "early", "stops"),
    [
        (50, 100, None, False, False),  # exactly half
        (51, 100, None, False, True),
        (99, 99, None, False, False),  # few rows say nothing, unless a share was asked for
        (2, 3, 0.5, False, True),
        (1, 4, 0.25, False, False),
        (1, 1000, 0.0, False, True),
        (999, 999, 0.1, True, False),  # not yet
        (501, 1000, None, True, True),
        (1000, 1000, 1.0, True, False),
    ],
)
def test_more_than_the_share_allowed_is_too_many(
    bad_rows: int, rows: int, given: float | None, early: bool, stops: bool
) -> None:
    settings = LabelSettings(max_quarantined_frac=given)
    assert too_many(bad_rows, rows, settings, early=early) == stops


def test_the_objection_names_counts_reasons_and_the_first_examples_in_any_order_of_parts() -> None:
    first = tally(bad("b", 7), bad("a", 3, "null_content"), bad("a", None, "unreadable_file"))
    second = tally(bad("c", 0), bad("a", 12), good=1)
    parts = [Tally(), Tally()]
    for merged, order in zip(parts, ([first, second], [second, first]), strict=True):
        for part in order:
            merged.merge(part)
    assert parts[0] == parts[1]
    said = objection(parts[0], LabelSettings(max_quarantined_frac=0.1))
    assert said is not None
    assert "5 of 6 conversations (83.3%) cannot be read; allowed are 10.0%" in said
    assert "bad_json 3, null_content 1, unreadable_file 1" in said
    assert "a (the whole file): unreadable_file: why\n  a row 3: null_content: why\n  a row 12: bad_json" in said
    assert "b row 7" not in said
    assert "--max-quarantined-frac continues" in said
