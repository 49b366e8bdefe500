"""The files of feedback/ as pass 2 reads them: in groups of bounded size, each conversation once.

A driver killed with -9 leaves workers that live for a second or two and may still record a block; if the same command
was started again by then, that block is in feedback/ twice. So rows are told apart by `row_id`; the first one counts.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from wildreward import storage
from wildreward.errors import DataError

WRITTEN_AT = b"wildreward_written_at_s"

GROUP_BYTES = 32 * 2**20
"""Feedback read by one task; a few times this in memory."""


def groups(folder: str) -> list[list[str]]:
    """Feedback files, sorted, in groups of about GROUP_BYTES."""
    fs, inner = storage.filesystem(folder)
    fs.invalidate_cache()  # the workers wrote these files, and this process may have listed the folder before
    found: list[list[str]] = []
    room = 0
    for path, entry in sorted(fs.find(inner, detail=True).items()):
        if not path.endswith(".parquet"):
            continue  # object stores keep an empty object for a directory
        if entry["size"] > room:
            found.append([])
            room = GROUP_BYTES
        found[-1].append(path if storage.is_local(folder) else fs.unstrip_protocol(path))
        room -= entry["size"]
    return found


def repeated(grouped: Sequence[Sequence[str]]) -> list[frozenset[int]]:
    """For each group the places, counted from 0 over its files, of rows that stand in a file before: rarely any."""
    keys = ray.get([_row_keys.options(name="ReadRowIds").remote(group) for group in grouped])
    together = np.concatenate([*keys, np.empty(0, np.uint64)])
    again = np.ones(len(together), dtype=bool)
    again[np.unique(together, return_index=True)[1]] = False
    ends = np.cumsum([len(part) for part in keys])
    return [frozenset(np.flatnonzero(part).tolist()) for part in np.split(again, ends)[: len(keys)]]


def batches(
    files: Sequence[str], skip: Collection[int] = (), rows: int = 256, columns: list[str] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """FEEDBACK rows of the files without those at the places `skip`, of all columns or of these; each with
    `written_at_s`, its file's time.

    Raises DataError naming a file of another make.
    """
    place = 0
    for path in files:
        for batch in _read(path, rows, columns):
            when = {"written_at_s": written_at_s(batch.schema)}
            yield [row | when for offset, row in enumerate(batch.to_pylist(), start=place) if offset not in skip]
            place += batch.num_rows


def stamped(schema: pa.Schema) -> pa.Schema:
    """The schema of a file that is written now: the time is in the file's metadata, no row holds it."""
    return schema.with_metadata({WRITTEN_AT: str(time.time())})


def written_at_s(schema: pa.Schema) -> float | None:
    """When a file was written, in seconds since 1970; None where it does not say.

    >>> written_at_s(pa.schema([])), written_at_s(stamped(pa.schema([]))) > 1.7e9
    (None, True)
    """
    when = (schema.metadata or {}).get(WRITTEN_AT)
    return None if when is None else float(when)


@ray.remote
def _row_keys(files: Sequence[str]) -> np.ndarray:
    """The first 64 bits of each `row_id`: five million of them have one chance in a million to collide."""
    found = [
        int(row_id[:16], 16)
        for path in files
        for batch in _read(path, 10_000, ["row_id"])
        for row_id in batch.column("row_id").to_pylist()
    ]
    return np.array(found, dtype=np.uint64)


def _read(path: str, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    try:
        with storage.open_file(path) as handle, pq.ParquetFile(handle) as file:
            yield from file.iter_batches(rows, columns=columns)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a feedback file of ours: {error}") from error
