"""The files of feedback/ as pass 2 reads them: in groups of bounded size, whole files only, each conversation once.

A driver killed with -9 leaves workers that live for a second or two and may still record a block; if the same command
was started again by then, that block is in feedback/ twice. So rows are told apart by `row_id`; the first one counts.
What such workers leave without a record is not read at all.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from pipelines.recorded_blocks import ID_COLUMN, Blocks, as_ids
from wildreward import storage
from wildreward.errors import DataError

WRITTEN_AT = b"wildreward_written_at_s"

GROUP_BYTES = 32 * 2**20
"""Feedback read by one task; a few times this in memory."""


def groups(folder: str) -> list[list[str]]:
    """Recorded feedback files, sorted, in groups of about GROUP_BYTES.

    The record is `.state/checkpoint` beside the folder; of a folder without one all files count. Raises DataError when
    no file is named as records are: it would look as if nothing had been judged.
    """
    sizes = _sizes(folder)
    blocks = _blocks(folder, sizes)
    if blocks is not None and sizes and not blocks.files:
        raise DataError(f"{folder}: found {_name(min(sizes))}; a feedback file is named DATASET_WRITE_TASK-0.parquet")
    found: list[list[str]] = []
    room = 0
    for path, size in sorted(sizes.items()):
        if blocks is not None and _name(path) not in blocks.whole_files:
            continue
        if size > room:
            found.append([])
            room = GROUP_BYTES
        found[-1].append(path)
        room -= size
    return found


def lost(folder: str) -> list[str]:
    """Blocks whose record is there and whose file is gone: their conversations must be judged again."""
    blocks = _blocks(folder, _sizes(folder))
    return [] if blocks is None else blocks.lost


def remove_leftovers(folder: str) -> None:
    """Delete what dying workers of a killed run wrote without a record: whoever reads the folder reads all of it."""
    sizes = _sizes(folder)
    blocks = _blocks(folder, sizes)
    for path in sizes:
        if blocks is not None and _name(path) in blocks.leftover_files:
            storage.remove(path)


def _blocks(folder: str, sizes: Collection[str]) -> Blocks | None:
    records = storage.join(folder.rstrip("/").rpartition("/")[0], ".state", "checkpoint")
    return Blocks.named(map(_name, sizes), map(_name, _sizes(records))) if storage.exists(records) else None


def _sizes(folder: str) -> dict[str, int]:
    """Bytes of all parquet files: object stores keep an empty object for a directory as well."""
    fs, inner = storage.filesystem(folder)
    fs.invalidate_cache()  # the workers wrote these files, and this process may have listed the folder before
    return {
        path if storage.is_local(folder) else fs.unstrip_protocol(path): entry["size"]
        for path, entry in fs.find(inner, detail=True).items()
        if path.endswith(".parquet")
    }


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def repeated(grouped: Sequence[Sequence[str]]) -> list[frozenset[int]]:
    """For each group the places, counted from 0 over its files, of rows that stand in a file before: rarely any.

    One session writes no row twice, so files of one session are not even read.
    """
    sessions = {_name(path).rpartition("_")[0] for group in grouped for path in group}
    if len(sessions) < 2:
        return [frozenset() for _ in grouped]
    keys = [_row_keys.options(name="ReadRowIds").remote(group) for group in grouped]
    again: list[frozenset[int]] = ray.get(_places_again.options(name="FindRepeatedRows").remote(*keys))
    return again


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
    found = [as_ids(batch.column(ID_COLUMN)) for path in files for batch in _read(path, 10_000, [ID_COLUMN])]
    return np.concatenate(found)


@ray.remote
def _places_again(*keys: np.ndarray) -> list[frozenset[int]]:
    """All ids in one place, which is not the driver: 24 bytes a conversation, and a few times that while they sort."""
    together = np.concatenate(keys)
    again = np.ones(len(together), dtype=bool)
    again[np.unique(together, return_index=True)[1]] = False
    ends = np.cumsum([len(part) for part in keys])
    return [frozenset(np.flatnonzero(part).tolist()) for part in np.split(again, ends[:-1])]


def _read(path: str, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    try:
        with storage.open_file(path) as handle, pq.ParquetFile(handle) as file:
            yield from file.iter_batches(rows, columns=columns)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a feedback file of ours: {error}") from error
