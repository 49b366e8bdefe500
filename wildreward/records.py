"""Rows of parquet and JSONL files, one after the other, each with its number in the file."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.errors import DataError

SUFFIXES = (".parquet", ".jsonl")
"""Read from directories. A `.json` file (an array of objects, or JSONL) is read where it is named."""
_COLUMN_SAMPLE = 100


@dataclass(frozen=True)
class Record:
    """Row `row` (from 0; blank lines do not count) of a file, or why it could not be read."""

    row: int
    values: dict[str, Any] | None
    problem: str = ""


def read_records(path: str, batch_rows: int = 256) -> Iterator[Record]:
    """Every row of one file, in order. Raises DataError for a file that is not what its name says."""
    if path.endswith(".parquet"):
        yield from _parquet(path, batch_rows)
    else:
        yield from _array(path) if _is_array(path) else _jsonl(path)


def columns_of(path: str) -> list[str]:
    """Names of the columns; of JSONL the keys of the first rows. Raises DataError for an unreadable file."""
    if not path.endswith(".parquet"):
        rows = itertools.islice(read_records(path), _COLUMN_SAMPLE)
        return list(dict.fromkeys(key for record in rows for key in record.values or {}))
    with storage.open_file(path) as handle:
        try:
            return list(pq.read_schema(handle).names)
        except pa.ArrowException as error:
            raise DataError(f"{path}: not a readable parquet file: {error}") from error


def first_rows(path: str) -> list[dict[str, Any]]:
    """Values of the first readable rows, a hundred at most."""
    rows = itertools.islice(read_records(path), _COLUMN_SAMPLE)
    return [record.values for record in rows if record.values is not None]


def count_rows(path: str) -> int | None:
    """Number of rows of a parquet file; None for JSONL, which would have to be read."""
    if not path.endswith(".parquet"):
        return None
    with storage.open_file(path) as handle:
        try:
            return int(pq.read_metadata(handle).num_rows)
        except pa.ArrowException as error:
            raise DataError(f"{path}: not a readable parquet file: {error}") from error


def _parquet(path: str, batch_rows: int) -> Iterator[Record]:
    with storage.open_file(path) as handle:
        row = 0
        try:
            for batch in pq.ParquetFile(handle).iter_batches(batch_rows):
                for values in batch.to_pylist():
                    yield Record(row, values)
                    row += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: unreadable after row {row}: {error}") from error


def _is_array(path: str) -> bool:
    """Whether a .json file is one array; others are JSONL under that name."""
    if not path.endswith(".json"):
        return False
    with storage.open_file(path) as handle:
        return handle.read(1024).lstrip()[:1] == b"["


def _array(path: str) -> Iterator[Record]:
    with storage.open_file(path) as handle:
        try:
            rows = json.load(handle)
        except ValueError as error:
            raise DataError(f"{path}: not readable JSON: {error}") from error
    for row, values in enumerate(rows):
        found = "" if isinstance(values, dict) else f"found {type(values).__name__}; expected an object"
        yield Record(row, None if found else values, found)


def _jsonl(path: str) -> Iterator[Record]:
    with storage.open_file(path) as handle:
        for row, line in enumerate(line for line in handle if line.strip()):
            try:
                values = json.loads(line)
            except ValueError as error:  # bad JSON and bad UTF-8 alike
                yield Record(row, None, f"{type(error).__name__}: {error}"[:300])
                continue
            found = "" if isinstance(values, dict) else f"found {type(values).__name__}; expected an object"
            yield Record(row, None if found else values, found)
