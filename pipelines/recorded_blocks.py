"""Which files of feedback/ are whole: those whose block is recorded in the row checkpoint.

A written block is a file in feedback/ and a record of its row ids, named alike; the record loses its `.pending` when
the file is whole. After a crash the two may differ, and `settle` makes them agree before judging goes on:

- a pending record: its file may be half written. Both go, unless the block was recorded before as well (an object store
  copies instead of renaming, and Ray may try a task again that was done) and file and record still hold the same ids;
- a file without a record may be half of one, and its conversations are judged again;
- a record without its file would lose its conversations.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem

ID_COLUMN = "row_id"

ID_TYPE = "S24"
"""Ids as fixed bytes: five million are 120 MB, which all readers of a node share, and no Python object is made."""

_BLOCK = r"(?P<block>[0-9A-Za-z]+_[0-9a-f]{32}_\d{6,})"
"""Ids of data set, write and task, as Ray Data names files. The first two are one session's."""

_FILE = re.compile(rf"{_BLOCK}-\d+\.parquet")
_RECORD = re.compile(rf"{_BLOCK}(?P<pending>\.pending)?\.parquet")


@dataclass(frozen=True)
class Folder:
    """A directory of parquet files on a pyarrow file system."""

    filesystem: FileSystem
    path: str

    def names(self) -> list[str]:
        entries = self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True))
        return sorted(entry.base_name for entry in entries if entry.is_file)

    def at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self.filesystem.delete_file(self.at(name))

    def ids(self, name: str) -> np.ndarray:
        """The row ids in a file. Raises pa.ArrowException if it is not a whole parquet file."""
        with self.filesystem.open_input_file(self.at(name)) as handle:
            return as_ids(pq.read_table(handle, columns=[ID_COLUMN]).column(ID_COLUMN))


@dataclass(frozen=True)
class Blocks:
    """Names of feedback files, records and pending records, by block."""

    files: Mapping[str, list[str]] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    pending: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def named(cls, feedback: Iterable[str], records: Iterable[str]) -> Self:
        """Other names are nobody's business: an object store's directory markers, a user's notes.

        >>> block = f"03aZ_{'0' * 32}_000007"
        >>> Blocks.named([f"{block}-0.parquet"], [f"{block}.pending.parquet"]).pending.keys() == {block}
        True
        """
        files: dict[str, list[str]] = {}
        found: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for name in feedback:
            if match := _FILE.fullmatch(name):
                files.setdefault(match["block"], []).append(name)
        for name in records:
            if match := _RECORD.fullmatch(name):
                found[match["pending"] is not None][match["block"]] = name
        return cls(files, *found)

    @cached_property
    def whole_files(self) -> set[str]:
        """Files whose block is recorded."""
        return {name for block in self.records.keys() & self.files.keys() for name in self.files[block]}

    @cached_property
    def leftover_files(self) -> set[str]:
        """Files whose block is not."""
        return {name for block in self.files.keys() - self.records.keys() for name in self.files[block]}

    @property
    def lost(self) -> list[str]:
        """Blocks that are recorded and have no file any more."""
        return sorted(self.records.keys() - self.files.keys())


def settle(records: Folder, feedback: Folder) -> list[str]:
    """Delete records and files of blocks that are not whole; the names of the records that stay.

    Only for the start of a run: what another run is writing at that time would not be whole either.
    """
    blocks = Blocks.named(feedback.names(), records.names())
    recorded = blocks.records.keys() & blocks.files.keys()
    whole = recorded - blocks.pending.keys() | {
        block
        for block in recorded & blocks.pending.keys()
        if _agree(records, blocks.records[block], feedback, blocks.files[block])
    }
    # Pending records go last: while they are there, a crash in here is one more crash of the same kind.
    records.delete(blocks.records[block] for block in blocks.records.keys() - whole)
    feedback.delete(name for block in blocks.files.keys() - whole for name in blocks.files[block])
    records.delete(blocks.pending.values())
    return [blocks.records[block] for block in sorted(whole)]


def _agree(records: Folder, record: str, feedback: Folder, files: Sequence[str]) -> bool:
    try:
        written = np.concatenate([feedback.ids(name) for name in files])
        return np.array_equal(np.sort(records.ids(record)), np.sort(written))
    except pa.ArrowException:
        return False


def as_ids(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.array(column.to_pylist(), dtype=ID_TYPE)


def is_among(ids: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """For each id whether it is in the sorted array `recorded`, which is not empty.

    >>> is_among(np.array([b"a", b"c", b"e"]), np.array([b"a", b"b", b"c"])).tolist()
    [True, True, False]
    """
    places = np.minimum(np.searchsorted(recorded, ids), len(recorded) - 1)
    return np.asarray(recorded[places] == ids)
