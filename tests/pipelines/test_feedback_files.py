"""Feedback files are read in bounded groups, and a conversation that was recorded twice counts once."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import feedback_files
from pipelines.feedback_files import batches, groups, lost, remove_leftovers, repeated
from wildreward.errors import DataError
from wildreward.schema import FEEDBACK, table


def write(path: Path, ids: list[int]) -> str:
    pq.write_table(
        table([{"row_id": f"{number:024x}"[::-1], "status": "no_follow_up"} for number in ids], FEEDBACK), path
    )
    return str(path)


def test_groups_hold_all_parquet_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(tmp_path / f"{number}.parquet", [number]) for number in range(3)]
    (tmp_path / "marker").write_bytes(b"")
    assert groups(str(tmp_path)) == [paths]
    monkeypatch.setattr(feedback_files, "GROUP_BYTES", 1)
    assert groups(str(tmp_path)) == [[path] for path in paths]
    assert groups(str(tmp_path / "nothing")) == []


def test_only_files_that_are_recorded_are_read_and_leftovers_go(tmp_path: Path) -> None:
    feedback, records = tmp_path / "feedback", tmp_path / ".state" / "checkpoint"
    feedback.mkdir()
    records.mkdir(parents=True)
    blocks = [f"{session}_{'f' * 32}_000000" for session in "012"]
    recorded, leftover = (write(feedback / f"{block}-0.parquet", [1]) for block in blocks[:2])
    Path(leftover).write_bytes(b"PAR1 and half of the rest")
    for name in (f"{blocks[0]}.parquet", f"{blocks[1]}.pending.parquet", f"{blocks[2]}.parquet"):
        (records / name).write_bytes(b"")
    notes = write(feedback / "notes.parquet", [2])
    assert groups(str(feedback)) == [[recorded]]
    assert lost(str(feedback)) == [blocks[2]]
    remove_leftovers(str(feedback))
    assert {str(path) for path in feedback.iterdir()} == {recorded, notes}
    Path(recorded).unlink()
    with pytest.raises(DataError, match=r"found notes\.parquet; a feedback file is named"):
        groups(str(feedback))


@pytest.mark.usefixtures("ray_cluster")
def test_a_conversation_that_was_recorded_twice_is_read_once(tmp_path: Path) -> None:
    first, second, third = (
        write(tmp_path / f"{n}_0_000000-0.parquet", ids) for n, ids in enumerate([[1, 2, 2], [3], [2, 4, 1, 5]])
    )
    grouped = [[first, second], [third]]
    skips = repeated(grouped)
    assert skips == [frozenset({2}), frozenset({0, 2})]
    rows = [
        row for group, skip in zip(grouped, skips, strict=True) for batch in batches(group, skip, 2) for row in batch
    ]
    assert [int(row["row_id"][::-1], 16) for row in rows] == [1, 2, 3, 4, 5]
    assert repeated([]) == []


def test_a_file_that_is_not_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"a\.parquet"):
        list(batches([str(tmp_path / "a.parquet")]))
