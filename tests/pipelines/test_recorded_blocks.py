"""What a crash leaves in feedback/ and in the row checkpoint: only blocks that are whole count."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem

from pipelines.recorded_blocks import Blocks, Folder, settle
from wildreward.schema import FEEDBACK, table

SESSION = f"03aZ_{'0123456789abcdef' * 2}"


def block(number: int) -> str:
    return f"{SESSION}_{number:06d}"


def ids_of(number: int) -> list[str]:
    return [f"{number:012x}{row:012x}" for row in range(3)]


class Crash:
    """A feedback/ and a checkpoint/ as some crash left them."""

    def __init__(self, base: Path) -> None:
        self.feedback, self.records = base / "feedback", base / "checkpoint"
        self.feedback.mkdir()
        self.records.mkdir()

    def file(self, number: int, ids: Sequence[str] | None = None, cut: bool = False) -> None:
        path = self.feedback / f"{block(number)}-0.parquet"
        rows = [{"row_id": row_id, "status": "no_follow_up"} for row_id in ids or ids_of(number)]
        pq.write_table(table(rows, FEEDBACK), path)
        if cut:
            path.write_bytes(path.read_bytes()[:-40])

    def record(self, number: int, pending: bool = False) -> None:
        name = f"{block(number)}{'.pending' if pending else ''}.parquet"
        pq.write_table(
            table([{"row_id": row_id} for row_id in ids_of(number)], FEEDBACK).select([0]), self.records / name
        )

    def settle(self) -> tuple[set[int], set[str], set[str]]:
        """Numbers of the blocks that count, and the names left in both folders."""
        whole = settle(*(Folder(LocalFileSystem(), str(path)) for path in (self.records, self.feedback)))
        files, records = ({path.name for path in folder.iterdir()} for folder in (self.feedback, self.records))
        return {int(name.removesuffix(".parquet").rpartition("_")[2]) for name in whole}, files, records


@pytest.fixture
def crash(tmp_path: Path) -> Crash:
    found = Crash(tmp_path)
    found.file(1)
    found.record(1)
    return found


ONLY_FIRST = ({1}, {f"{block(1)}-0.parquet"}, {f"{block(1)}.parquet"})


@pytest.mark.parametrize("cut", [True, False])
def test_a_file_whose_record_is_pending_goes_whether_it_is_whole_or_not(crash: Crash, cut: bool) -> None:
    crash.file(2, cut=cut)
    crash.record(2, pending=True)
    assert crash.settle() == ONLY_FIRST


def test_a_pending_record_that_is_cut_itself_goes(crash: Crash) -> None:
    (crash.records / f"{block(2)}.pending.parquet").write_bytes(b"PAR1")
    assert crash.settle() == ONLY_FIRST


def test_a_file_without_a_record_goes(crash: Crash) -> None:
    crash.file(2, cut=True)
    assert crash.settle() == ONLY_FIRST


def test_a_record_without_its_file_goes_or_its_conversations_would_be_lost(crash: Crash) -> None:
    crash.record(2)
    assert crash.settle() == ONLY_FIRST


def test_a_block_recorded_twice_over_stays_while_file_and_record_agree(crash: Crash) -> None:
    """An object store copies the pending record and then deletes it: killed in between, both are there."""
    crash.record(1, pending=True)
    assert crash.settle() == ONLY_FIRST


@pytest.mark.parametrize(("ids", "cut"), [(None, True), (ids_of(2)[:2], False)])
def test_a_recorded_block_that_was_being_written_again_goes(crash: Crash, ids: list[str] | None, cut: bool) -> None:
    crash.record(2)
    crash.file(2, ids, cut)
    crash.record(2, pending=True)
    assert crash.settle() == ONLY_FIRST


def test_what_is_no_block_of_ours_stays(crash: Crash) -> None:
    (crash.feedback / "notes.parquet").write_bytes(b"mine")
    (crash.records / "README").write_bytes(b"mine")
    assert crash.settle() == ({1}, ONLY_FIRST[1] | {"notes.parquet"}, ONLY_FIRST[2] | {"README"})


def test_files_are_whole_only_when_they_are_recorded() -> None:
    names = [f"{block(number)}-0.parquet" for number in (1, 2, 3)]
    blocks = Blocks.named(names, [f"{block(1)}.parquet", f"{block(2)}.pending.parquet", f"{block(4)}.parquet"])
    assert (blocks.whole_files, blocks.leftover_files, blocks.lost) == ({names[0]}, set(names[1:]), [block(4)])
