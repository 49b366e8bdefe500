"""The steps of `score` on the cluster: files are read as chunks of rows, and each chunk becomes one part file.

A chunk travels as one row of Ray Data, so that its part file has the same name and content in every run.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.scoring import load_on_worker
from wildreward import storage
from wildreward.records import Record, read_records
from wildreward.schema import MESSAGES
from wildreward.score_rows import conversation_of, id_of
from wildreward.score_table import SCORED, scored_columns
from wildreward.scorer import ScorerSource, Unscored, score_each

SCORES = pa.schema([("file", pa.string()), ("row", pa.int64()), ("id", pa.string()), *SCORED])
"""scores/*.parquet: `row` counts from 0 within `file`; `id` is the row's id or conversation_hash."""

_READ = pa.schema(
    [("row", pa.int64()), ("id", pa.string()), ("messages", MESSAGES), ("error", pa.string()), ("detail", pa.string())]
)
_CHUNK = pa.schema([("file", pa.string()), ("part", pa.string()), ("data", pa.binary())])
_WRITTEN = pa.schema([("part", pa.string()), ("rows", pa.int64()), ("errors", pa.string())])


class ReadChunks:
    """Files in, chunks of their rows out: one row a chunk, so that its part file is the same in every run."""

    def __init__(self, chunk_rows: int) -> None:
        self.chunk_rows = chunk_rows

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for place in batch.to_pylist():
            records = read_records(place["file"])
            while chunk := list(islice(records, self.chunk_rows)):
                part = f"{place['index']:05d}-{chunk[0].row:010d}.parquet"
                table = pa.Table.from_pylist([_read_row(record) for record in chunk], schema=_READ)
                row = {"file": place["file"], "part": part, "data": _to_bytes(table)}
                yield pa.Table.from_pylist([row], schema=_CHUNK)


def _read_row(record: Record) -> dict[str, Any]:
    if record.values is None:
        return {"row": record.row, "error": "unreadable_row", "detail": record.problem}
    row = {"row": record.row, "id": id_of(record.values)}
    found = conversation_of(record.values)
    if isinstance(found, Unscored):
        return row | {"error": found.reason, "detail": found.detail}
    return row | {"messages": found}


class ScoreChunks:
    """Ray Data actor: writes the part file of each chunk, unless an earlier run did."""

    def __init__(self, source: ScorerSource, threads: int, parts: str) -> None:
        self.scorer, self.parts = load_on_worker(source, threads), parts

    def __call__(self, batch: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([self._written(chunk) for chunk in batch.to_pylist()], schema=_WRITTEN)

    def _written(self, chunk: dict[str, Any]) -> dict[str, Any]:
        path = storage.join(self.parts, chunk["part"])
        if storage.exists(path):
            with storage.open_file(path) as handle:
                errors = pq.read_table(handle, columns=["error"])
        else:
            errors = self._scores(chunk)
            sink = pa.BufferOutputStream()
            pq.write_table(errors, sink)
            storage.write_bytes(path, bytes(sink.getvalue()))
        counts = Counter(reason for reason in errors.column("error").to_pylist() if reason is not None)
        return {"part": chunk["part"], "rows": errors.num_rows, "errors": json.dumps(counts)}

    def _scores(self, chunk: dict[str, Any]) -> pa.Table:
        rows = pa.ipc.open_stream(chunk["data"]).read_all().to_pylist()
        sound = [row["messages"] for row in rows if row["error"] is None]
        scores = iter(score_each(self.scorer, sound))
        found = [next(scores) if row["error"] is None else Unscored(row["error"], row["detail"] or "") for row in rows]
        table = scored_columns(found)
        place = {
            "file": [chunk["file"]] * len(rows),
            "row": [row["row"] for row in rows],
            "id": [row["id"] for row in rows],
        }
        return pa.table(place | {name: table.column(name) for name, _ in SCORED}, schema=SCORES)


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
