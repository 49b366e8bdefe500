"""A label run against the truth: turns are matched by conversation and turn, and each figure counts what it says."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.schema import FEEDBACK, WILDFB, table
from wildreward.synthetic.agreement import measure
from wildreward.synthetic.generate import truth_schema


def save(path: Path, found: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, path)


def truth(name: str, turn: int, level: int, case: str = "ordinary", **more: Any) -> dict[str, Any]:
    return {
        "conversation_hash": name, "turn": turn, "true_level": level, "true_level_refined": level, "case": case, **more,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> tuple[str, str]:
    """A hindsight case, a refusal, two filter cases of which one slipped through, and a turn without a level."""
    lines = [
        truth("a", 0, 3, "hindsight") | {"true_level_refined": 5},
        truth("a", 1, 5, "hindsight"),
        truth("b", 0, 1, "justified_refusal", refusal=1) | {"true_level_refined": 5},
        truth("b", 1, 3, "false_refusal", refusal=0),
        truth("c", 0, 4, "filter_media", drop="media"),
        truth("d", 0, 1, "filter_media", drop="media"),
        truth("e", 0, 2),
    ]
    save(tmp_path / "truth.parquet", pa.Table.from_pylist(lines, schema=truth_schema()))
    judged: dict[str, list[tuple[int | None, int | None]]]
    judged = {
        "a": [(3, None), (5, None)],
        "b": [(1, 1), (3, None)],
        "c": [(4, None)],
        "d": [(1, None)],
        "e": [(None, None)],
    }
    feedback = [
        {"conversation_hash": name, "turns": [
            {"turn": turn, "level": level, "refusal_verdict": verdict} for turn, (level, verdict) in enumerate(turns)
        ]}
        for name, turns in judged.items()
    ]  # fmt: skip
    save(tmp_path / "label/feedback/0.parquet", table(feedback, FEEDBACK))
    rows = [("a", 0, 5, "hindsight"), ("a", 1, 5, "explicit"), ("b", 0, 5, "refusal"), ("c", 0, 4, "explicit")]
    wildfb = [dict(zip(("conversation_hash", "turn", "level", "source"), row, strict=True)) for row in rows]
    save(tmp_path / "label/wildfb/train/0.parquet", table(wildfb[:3], WILDFB))
    save(tmp_path / "label/wildfb/test/0.parquet", table(wildfb[3:], WILDFB))
    return str(tmp_path / "label"), str(tmp_path / "truth.parquet")


def test_a_turn_without_a_level_is_not_counted_as_wrong(run: tuple[str, str]) -> None:
    found = measure(*run)
    assert (found.judged.turns, found.judged.accuracy.value) == (6, 1.0)


def test_rows_are_held_against_the_refined_truth(run: tuple[str, str]) -> None:
    found = measure(*run)
    assert (found.rows.turns, found.rows.accuracy.value) == (4, 1.0)


def test_cases_are_counted_right_out_of_made(run: tuple[str, str]) -> None:
    found = measure(*run)
    assert found.refusals == (1, 1, 2)
    assert found.filters == {"media": (1, 2)}
    assert found.hindsight == {"hindsight": (1, 1)}
