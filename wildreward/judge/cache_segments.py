"""One file of the judge cache: answers in the order they were given, found by key, read a row group at a time.

A segment is written once, whole, under a name of its own, and never changed: readers and writers of one cache need no
lock. What is no segment of ours, is cut off or fails its checksums is a BadSegmentError, never an answer.
"""

import io
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildreward import storage

KEY_BYTES = 16
GROUP_ROWS = 1024
"""Rows of a row group, the unit that is read for a hit."""

SUFFIX = ".parquet"

SEGMENT = pa.schema(
    [
        ("key", pa.binary(KEY_BYTES)),  # hash of all the answer depends on
        ("asker", pa.binary(KEY_BYTES)),  # hash of the run and the turn whose account the answer is on
        ("question", pa.string()),  # feedback | refusal
        ("judge", pa.string()),
        ("prompt_version", pa.string()),
        ("value", pa.int8()),  # level 1..5, or verdict 0..2
        ("probs", pa.list_(pa.float64())),
        ("raw", pa.string()),
        ("attempts", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
    ],
    metadata={"wildreward": "judge cache 1"},
)


class BadSegmentError(Exception):
    """A file in the cache that is not to be trusted; the message says why."""


class GoneError(Exception):
    """A segment that was there and is not any more: somebody has merged it into a larger one."""


@dataclass(frozen=True)
class Segment:
    """Where the answers of one file are: 64-bit heads of its keys, sorted, and the row of each. 12 bytes an answer."""

    path: str
    size_bytes: int  # as it takes in memory when read
    heads: np.ndarray
    places: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.heads)

    def find(self, heads: np.ndarray) -> list[tuple[int, int]]:
        """(position in `heads`, row) of those that may be here: the whole key is compared when the row is read."""
        if not self.rows:
            return []
        at = np.minimum(np.searchsorted(self.heads, heads), self.rows - 1)
        found = np.flatnonzero(self.heads[at] == heads)
        return list(zip(found.tolist(), self.places[at[found]].tolist(), strict=True))


def heads_of(keys: Iterable[bytes]) -> np.ndarray:
    """The first 64 bits of each key.

    >>> heads_of([bytes([0] * 7 + [2] + [9] * 8)]).tolist()
    [2]
    """
    return np.frombuffer(b"".join(key[:8] for key in keys), dtype=">u8").astype(np.uint64)


def write(directory: str, table: pa.Table) -> Segment:
    """A new segment, complete or not there at all."""
    path = storage.join(directory, f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{SUFFIX}")
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=GROUP_ROWS, write_page_checksum=True)
    storage.write_bytes(path, buffer.getvalue())
    return _segment(path, table.nbytes, table.column("key").to_pylist())


def open_segment(path: str) -> Segment:
    """The segment's keys. Raises BadSegmentError or GoneError."""
    with _Reader(path) as file:
        file.check()
        keys = file.parquet.read(columns=["key"]).column("key").to_pylist()
        return _segment(path, sum(_group_bytes(file.parquet)), keys)


def read_group(path: str, group: int) -> pa.Table:
    """The rows group * GROUP_ROWS and following. Raises BadSegmentError or GoneError."""
    with _Reader(path) as file:
        return file.parquet.read_row_group(group)


def read_all(path: str) -> pa.Table:
    """All rows. Raises BadSegmentError or GoneError."""
    with _Reader(path) as file:
        file.check()
        return file.parquet.read()


def listed(directory: str) -> list[str]:
    """The files of a cache, oldest first; none where there is no such directory."""
    fs, inner = storage.filesystem(directory)
    fs.invalidate_cache(inner)
    names = sorted(name for name in fs.find(inner, maxdepth=1) if name.endswith(SUFFIX)) if fs.exists(inner) else []
    return [storage.join(directory, os.path.basename(name)) for name in names]


def _segment(path: str, size_bytes: int, keys: Sequence[bytes]) -> Segment:
    heads = heads_of(keys)
    order = np.argsort(heads, kind="stable").astype(np.uint32)
    return Segment(path, size_bytes, heads[order], order)


def _group_bytes(file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]


class _Reader:
    """An open segment, with the errors of reading told apart: gone, bad, or the disk's own (which are raised as is)."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> "_Reader":
        fs, inner = storage.filesystem(self._path)
        try:
            self._handle = fs.open(inner, "rb")
        except FileNotFoundError:
            raise GoneError(self._path) from None
        try:
            self.parquet = pq.ParquetFile(self._handle, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def check(self) -> None:
        """Raises BadSegmentError for a parquet file that is none of ours."""
        metadata, schema = self.parquet.metadata, self.parquet.schema_arrow
        if not schema.equals(SEGMENT) or (schema.metadata or {}).get(b"wildreward") != SEGMENT.metadata[b"wildreward"]:
            raise BadSegmentError("parquet with other columns than the judge cache's")
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if any(count != GROUP_ROWS for count in rows[:-1]):
            raise BadSegmentError(f"row groups of other sizes than {GROUP_ROWS}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._handle.close()
        if isinstance(error, FileNotFoundError):
            raise GoneError(self._path) from None
        # Arrow reports a page that fails its checksum as an OSError, without the number that a real one carries.
        if isinstance(error, pa.ArrowException) or (isinstance(error, OSError) and error.errno is None):
            raise BadSegmentError(str(error).splitlines()[0]) from error
