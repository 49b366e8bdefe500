"""Records out of conversation files, whatever state the files are in: Parquet by bounded batches, JSONL line by line.

A file, row group or line that cannot be read becomes a `BadRecord`, which ends in quarantine/, never an exception. The
one exception is a remote store that fails (network, permission): that is no property of the data, so the run stops and
can be continued.
"""

import gzip
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.conversations import MESSAGE_COLUMNS
from wildreward.errors import DataError

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")

SPLIT_BYTES = 128 * 2**20
"""Parquet files from this size on are read by several tasks, each its own row groups."""

MAX_LINE_BYTES = 64 * 2**20
"""A longer JSONL line is not a conversation; without a bound a file without newlines would fill the memory."""


_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class FilePart:
    """What one read task reads: a file, or some row groups of a large Parquet file."""

    path: str
    size_bytes: int
    row_groups: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Record:
    """One row as it stands in the file; `row` counts from 0 within the file."""

    row: int
    value: Any


@dataclass(frozen=True)
class BadRecord:
    """A row, or (with `row` None) the rest of a file, that cannot be read."""

    row: int | None
    reason: str
    detail: str


def plan(paths: Sequence[str], split_bytes: int = SPLIT_BYTES) -> list[FilePart]:
    """Parts of all files in order; only the footers of large Parquet files are read. Raises DataError."""
    parts: list[FilePart] = []
    for path in paths:
        size = size_bytes(path)
        groups = _row_groups(path) if path.endswith(".parquet") and size >= split_bytes else 0
        share = max(1, groups // max(1, size // split_bytes))
        if groups > share:
            parts += [
                FilePart(path, size * share // groups, tuple(range(first, min(first + share, groups))))
                for first in range(0, groups, share)
            ]
        else:
            parts.append(FilePart(path, size))
    return parts


def size_bytes(path: str) -> int:
    fs, inner = storage.filesystem(path)
    try:
        return int(fs.size(inner) or 0)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def read_part(
    part: FilePart, columns: Sequence[str] | None = None, batch_rows: int = 64
) -> Iterator[Record | BadRecord]:
    """All rows of a part in file order, holding about `batch_rows` of them in memory. Parquet reads only `columns`.

    Raises DataError when a remote store fails.
    """
    read = _parquet_records(part, columns, batch_rows) if part.path.endswith(".parquet") else _jsonl_records(part.path)
    try:
        yield from read
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowException) as error:
        yield BadRecord(None, "unreadable_file", _about(part.path, error))
    except DataError as error:
        if not storage.is_local(part.path):
            raise
        yield BadRecord(None, "unreadable_file", str(error))


def _parquet_records(part: FilePart, columns: Sequence[str] | None, batch_rows: int) -> Iterator[Record | BadRecord]:
    with storage.open_file(part.path) as handle, pq.ParquetFile(handle) as file:
        names = file.schema_arrow.names
        if not set(MESSAGE_COLUMNS) & set(names):
            found = ", ".join(names) or "none"
            yield BadRecord(None, "missing_column", f"no column {' or '.join(MESSAGE_COLUMNS)}; columns are: {found}")
            return
        wanted = None if columns is None else [name for name in names if name in columns]
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        for group in range(len(sizes)) if part.row_groups is None else part.row_groups:
            yield from _row_group_records(
                part.path,
                file,
                group,
                first=sum(sizes[:group]),
                rows=sizes[group],
                columns=wanted,
                batch_rows=batch_rows,
            )


def _row_group_records(
    path: str, file: pq.ParquetFile, group: int, *, first: int, rows: int, columns: list[str] | None, batch_rows: int
) -> Iterator[Record | BadRecord]:
    row = first
    try:
        for batch in file.iter_batches(batch_rows, row_groups=[group], columns=columns):
            for offset in range(batch.num_rows):
                yield _record(batch, offset, row)
                row += 1
    except (OSError, pa.ArrowException) as error:
        detail = f"row group {group}: {_about(path, error)}"
        for unread in range(row, first + rows):
            yield BadRecord(unread, "unreadable_rows", detail)


def _record(batch: pa.RecordBatch, offset: int, row: int) -> Record | BadRecord:
    try:
        return Record(row, batch.slice(offset, 1).to_pylist()[0])
    except (UnicodeDecodeError, ValueError, OverflowError) as error:
        return BadRecord(row, "unreadable_row", f"{type(error).__name__}: {error}"[:300])


def _jsonl_records(path: str) -> Iterator[Record | BadRecord]:
    with storage.open_file(path) as raw:
        unpacked = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        handle = io.BufferedReader(cast(io.RawIOBase, unpacked))  # remote files read lines without a bound
        row = 0
        for line in _lines(handle):
            if line is None:
                yield BadRecord(row, "bad_json", f"line longer than {MAX_LINE_BYTES} bytes")
            elif not line.strip():
                continue
            else:
                yield _json_record(line, row)
            row += 1


def _lines(handle: IO[Any]) -> Iterator[bytes | None]:
    """Lines of the file; None for one that is longer than the bound, of which the rest is skipped."""
    while line := handle.readline(MAX_LINE_BYTES):
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while (rest := handle.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None


def _json_record(line: bytes, row: int) -> Record | BadRecord:
    try:
        value = json.loads(line)
        if b"\\ud" in line.lower():  # half an emoji: valid JSON, but no text that can be written as UTF-8
            value = json.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", json.dumps(value, ensure_ascii=False)))
        return Record(row, value)
    except (ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 are both ValueErrors
        return BadRecord(row, "bad_json", f"{type(error).__name__}: {error}"[:300])


def _row_groups(path: str) -> int:
    """Number of row groups; 0 when the footer cannot be read, which the read task will report."""
    try:
        with storage.open_file(path) as handle, pq.ParquetFile(handle) as file:
            return int(file.num_row_groups)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        _about(path, error)
        return 0


def _about(path: str, error: Exception) -> str:
    """What to say of unreadable data. Raises DataError if it is the store that failed: remote, with an errno."""
    if isinstance(error, OSError) and error.errno is not None and not storage.is_local(path):
        raise DataError(f"{path}: cannot be read: {os.strerror(error.errno)}: {error}") from error
    return f"{type(error).__name__}: {error}"[:300]
