"""Levels by turn of a label run's output, or of a file that people or another tool made, as arrays to be matched.

A turn is known by 64 bits of its conversation's hash and its number: 18 bytes a turn, and of fifteen million turns one
pair in ten thousand such sets would be taken for the same.
"""

import csv
import hashlib
import io
import itertools
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.agreement import REFUSAL_VERDICTS
from wildreward.errors import DataError, UsageError
from wildreward.metrics import Array
from wildreward.records import columns_of, read_records
from wildreward.scale import LEVELS

VERDICTS = REFUSAL_VERDICTS.categories

SUFFIXES = (".parquet", ".jsonl", ".csv")
NONE = -1
"""Stands for a level or verdict that is not there."""

LEVEL_COLUMNS = {False: ("level", "true_level"), True: ("level", "true_level_refined")}
"""Where a level is looked for, of the judge and (True) of the rows."""
VERDICT_COLUMNS = ("refusal_verdict", "refusal")

_TURN_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd: turns of one conversation never meet
_BATCH_ROWS = 4096

Chunk = tuple[Array, Array, Array, Array]
"""Conversations, turns, levels, verdicts of some turns."""


@dataclass(frozen=True)
class Levels:
    """Turns of one labelling, each once, in the order of `keys_N`."""

    keys_N: Array
    conversations_N: Array
    levels_N: Array
    verdicts_N: Array
    repeated: int
    """Turns that came more than once: the first one counts."""

    @property
    def unlabelled(self) -> int:
        return int((self.levels_N == NONE).sum())


def read_levels(path: str, rows: bool = False, level_column: str | None = None) -> Levels:
    """All turns of an output of label, or of files. Raises UsageError for a path that is neither, DataError for files
    that lack a column or hold a value that is no level."""
    chunks = [chunk for file in files_of(path, rows) for chunk in _read(file, rows, level_column)]
    columns = zip(*chunks, strict=True) if chunks else ([np.empty(0, int)] for _ in range(4))
    conversations_N, turns_N, levels_N, verdicts_N = (np.concatenate(list(column)) for column in columns)
    keys_N = conversations_N.astype(np.uint64) + turns_N.astype(np.uint64) * _TURN_STEP
    keys_N, first_N = np.unique(keys_N, return_index=True)
    repeated = len(turns_N) - len(keys_N)
    return Levels(keys_N, conversations_N[first_N], levels_N[first_N], verdicts_N[first_N], repeated)


def files_of(path: str, rows: bool) -> list[str]:
    """The files that hold the levels of `path`."""
    inner = [storage.join(path, name) for name in (("wildfb/train", "wildfb/test") if rows else ("feedback",))]
    if all(map(storage.exists, inner)):
        return storage.expand(inner, [".parquet"])
    if any(storage.exists(storage.join(path, name)) for name in ("feedback", "wildfb")):
        raise UsageError(f"{path}: has no {' and '.join(inner)}: the label run is not done")
    fs, place = storage.filesystem(path)
    if not fs.exists(place) and not any(sign in path for sign in "*?["):
        raise UsageError(f"{path}: there is no such output of label, and no such file")
    try:
        return storage.expand([path], SUFFIXES)
    except UsageError:
        raise UsageError(
            f"{path}: neither an output of label (a directory with feedback/) nor a file that ends with "
            f"{', '.join(SUFFIXES)}"
        ) from None


def _read(path: str, rows: bool, level_column: str | None) -> Iterator[Chunk]:
    columns = _header(path) if path.endswith(".csv") else columns_of(path)
    if "turns" in columns and "level" not in columns and path.endswith(".parquet"):
        yield from _feedback(path)
        return
    levels = (level_column,) if level_column else LEVEL_COLUMNS[rows]
    level = next((name for name in levels if name in columns), None)
    missing = [name for name in ("conversation_hash", "turn") if name not in columns]
    if level is None:
        missing.append(" or ".join(levels))
    if missing or level is None:
        raise DataError(
            f"{path}: lacks the column {', '.join(missing)}; its columns are {', '.join(columns) or 'none'}"
        )
    verdict = next((name for name in VERDICT_COLUMNS if name in columns), None)
    yield from _rows(path, ["conversation_hash", "turn", level, *([verdict] if verdict else [])])


def _feedback(path: str) -> Iterator[Chunk]:
    """The turns of a feedback file, without its texts."""
    leaves = [f"turns.list.element.{name}" for name in ("turn", "level", "refusal_verdict")]
    try:
        with storage.open_file(path) as handle, pq.ParquetFile(handle) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=["conversation_hash", *leaves]):
                turns = batch.column("turns")
                found = pc.list_flatten(turns)
                conversations = hash64(batch.column("conversation_hash").to_pylist())
                whose = pc.list_parent_indices(turns).to_numpy(zero_copy_only=False)
                yield conversations[whose], *(_numbers(found.field(name)) for name in range(3))
    except (pa.ArrowException, KeyError) as error:
        raise DataError(f"{path}: not a feedback file of ours: {error}") from error


def _numbers(column: pa.Array) -> Array:
    return pc.fill_null(column.cast(pa.int64()), NONE).to_numpy(zero_copy_only=False)


def _rows(path: str, columns: Sequence[str]) -> Iterator[Chunk]:
    """The turns of a table, a row each; 8 bytes a value until the file is read."""
    made = array("Q"), array("q"), array("b"), array("b")
    level, verdict = columns[2], columns[3] if columns[3:] else ""
    for number, row in _records(path, columns):
        name = row.get("conversation_hash")
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: row {number}: conversation_hash: found {name!r}; a text is needed")
        turn = _whole(path, number, "turn", row.get("turn"))
        if turn is None or turn < 0:
            raise DataError(f"{path}: row {number}: turn: found {row.get('turn')!r}; a number from 0 is needed")
        made[0].append(_hash(name))
        made[1].append(turn)
        made[2].append(_category(path, number, level, row.get(level), LEVELS))
        made[3].append(_category(path, number, verdict, row.get(verdict), VERDICTS) if verdict else NONE)
    conversations, turns, levels, verdicts = made
    yield np.array(conversations, np.uint64), np.array(turns), np.array(levels), np.array(verdicts)


def _records(path: str, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a file by number, with at least these columns."""
    if path.endswith(".csv"):
        yield from enumerate(itertools.islice(_csv(path), 1, None))
    elif path.endswith(".jsonl"):
        for record in read_records(path):
            if record.values is None:
                raise DataError(f"{path}: row {record.row}: {record.problem}")
            yield record.row, record.values
    else:
        with storage.open_file(path) as handle, pq.ParquetFile(handle) as file:
            batches = file.iter_batches(_BATCH_ROWS, columns=list(columns))
            yield from enumerate(row for batch in batches for row in batch.to_pylist())


def _csv(path: str) -> Iterator[dict[str, Any]]:
    """The names of the columns, without a value, and then the rows."""
    with storage.open_file(path) as handle, io.TextIOWrapper(handle, encoding="utf-8-sig", newline="") as lines:
        try:
            rows = csv.DictReader(lines)
            header = dict.fromkeys(rows.fieldnames or ())
            yield header
            yield from rows
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a readable CSV file: {error}") from error


def _header(path: str) -> list[str]:
    return list(next(_csv(path)))


def _category(path: str, row: int, column: str, value: Any, allowed: Iterable[int]) -> int:
    number = _whole(path, row, column, value)
    if number is not None and number not in allowed:
        raise DataError(f"{path}: row {row}: {column}: found {value!r}; allowed are {list(allowed)}, or nothing")
    return NONE if number is None else number


def _whole(path: str, row: int, column: str, value: Any) -> int | None:
    """A whole number, also as a text or as pandas' float of a column with gaps; None for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str) and not value.strip():
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not number.is_integer():
        raise DataError(f"{path}: row {row}: {column}: found {value!r}; a whole number is needed")
    return int(number)


def hash64(names: Iterable[str | None]) -> Array:
    """64 bits of each conversation's hash; 0 for a conversation that could not be read and has no turn."""
    return np.array([0 if name is None else _hash(name) for name in names], dtype=np.uint64)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())
