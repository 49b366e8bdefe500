"""Pass 2 of `label`, the cheap one: feedback/ -> wildfb/{train,test}/ and quarantine/, without asking the judge.

Rows are made in one sweep over feedback/ and stay in Ray's object store (spilled to disk when it is full); only counts
reach the driver: rows per hash bucket of the conversation. From these follow the split and the files, each a range of
buckets, sorted: what a file holds depends on the rows alone, not on how judging was cut into blocks or interrupted.
"""

import io
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from pipelines.diversity import drop_reasons, rounds
from pipelines.feedback_files import batches, groups, repeated
from pipelines.judge_metrics import RowMetrics
from pipelines.rows import wildfb_rows
from wildreward import storage
from wildreward.errors import DataError
from wildreward.funnel import Funnel
from wildreward.progress import Progress
from wildreward.quarantine import Tally, objection
from wildreward.samples import Samples
from wildreward.schema import QUARANTINE, WILDFB, table
from wildreward.settings.label import LabelSettings
from wildreward.splits import BUCKETS, bucket, default_test_rows, test_threshold

PART_ROWS = 20_000
"""Rows in one output file, unless a single conversation has more."""

TRAIN, TEST, REJECTED = "wildfb/train", "wildfb/test", "quarantine"
SCHEMAS: Mapping[str, pa.Schema] = {TRAIN: WILDFB, TEST: WILDFB, REJECTED: QUARANTINE}
KEYS = {"rows": "conversation_hash", REJECTED: "row_id"}
"""What the bucket of a row is the hash of."""


@dataclass
class Sweep:
    """Counts of a group of feedback files: small enough for the driver."""

    funnel: Funnel = field(default_factory=Funnel)
    rows: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    def merge(self, other: "Sweep") -> None:
        self.funnel.merge(other.funnel)
        self.rows.update(other.rows)
        self.rejected.update(other.rejected)
        self.tally.merge(other.tally)


@dataclass(frozen=True)
class Part:
    """One output file: the buckets first <= bucket < last of a folder."""

    folder: str
    name: str
    first: int
    last: int

    @property
    def key(self) -> str:
        """Which table of `_make_rows` it is cut from."""
        return REJECTED if self.folder == REJECTED else "rows"


def write_rows(settings: LabelSettings, staging: str) -> Funnel:
    """Make the rows of --output/feedback and write them below `staging`.

    Raises DataError when too much of the input could not be read, WildrewardError when the funnel does not add up.
    """
    grouped = groups(storage.join(settings.output, "feedback"))
    skips = repeated(grouped)
    made: list[Any] = [
        _make_rows.options(name="MakeRows").remote(*group, settings) for group in zip(grouped, skips, strict=True)
    ]
    total = _counted("label: feedback to rows", made)
    too_bad = objection(total.tally, settings)
    if too_bad:
        raise DataError(too_bad)
    if rounds(settings):
        reasons = drop_reasons([data for data, _ in made], total.rows.total(), settings)
        drop = _drop.options(name="DropAlikeRows")
        made = [drop.remote(data, counts, why, settings) for (data, counts), why in zip(made, reasons, strict=True)]
        total = _counted("label: rows that stay", made)
    RowMetrics().add(total.rows.total(), total.funnel.dropped)
    parts = plan_parts(total, settings.test_rows)
    _set_split(total, parts)
    total.funnel.check()
    _exchange([data for data, _ in made], parts, settings.seed, staging)
    return total.funnel


def _counted(what: str, made: Sequence[Any]) -> Sweep:
    total = Sweep()
    with Progress(what, total=len(made)) as progress:
        for _, counts in made:
            total.merge(ray.get(counts))
            progress.advance()
    return total


def plan_parts(total: Sweep, test_rows: int | None) -> list[Part]:
    """The output files; each folder has at least one."""
    wanted = default_test_rows(total.rows.total()) if test_rows is None else test_rows
    threshold = test_threshold(total.rows, wanted)
    return [
        *_cut(TEST, total.rows, 0, threshold),
        *_cut(TRAIN, total.rows, threshold, BUCKETS),
        *_cut(REJECTED, total.rejected, 0, BUCKETS),
    ]


def _cut(folder: str, histogram: Mapping[int, int], first: int, last: int) -> list[Part]:
    """Ranges of buckets of about PART_ROWS rows."""
    edges, rows = [first], 0
    for place in sorted(place for place in histogram if first <= place < last):
        if rows and rows + histogram[place] > PART_ROWS:
            edges.append(place)
            rows = 0
        rows += histogram[place]
    edges.append(last)
    count = len(edges) - 1
    names = (f"part-{index:05d}-of-{count:05d}.parquet" for index in range(count))
    return [Part(folder, name, *edge) for name, edge in zip(names, itertools.pairwise(edges), strict=True)]


def _set_split(total: Sweep, parts: Sequence[Part]) -> None:
    last_of_test = max(part.last for part in parts if part.folder == TEST)
    total.funnel.test = sum(rows for place, rows in total.rows.items() if place < last_of_test)
    total.funnel.train = total.rows.total() - total.funnel.test


def _exchange(made: Sequence[Any], parts: Sequence[Part], seed: int, staging: str) -> None:
    """Every group gives each part its rows; every part is written by one task."""
    pieces = [_split.options(name="SplitRows", num_returns=len(parts)).remote(data, parts, seed) for data in made]
    columns = zip(*pieces, strict=True) if pieces else ([] for _ in parts)
    write = _write_part.options(name="WriteRows")
    writing = [write.remote(part, staging, *column) for part, column in zip(parts, columns, strict=True)]
    with Progress("label: files of rows", total=len(writing)) as progress:
        for done in writing:
            ray.get(done)
            progress.advance()


@ray.remote(num_returns=2)
def _make_rows(
    files: Sequence[str], skip: frozenset[int], settings: LabelSettings
) -> tuple[dict[str, pa.Table], Sweep]:
    """(the group's rows and quarantined conversations, their counts)."""
    counts = Sweep(Funnel(samples=Samples(settings.report_samples, settings.seed)))
    rows, rejected = [], []
    for batch in batches(files, skip):
        made = [row for feedback in batch for row in wildfb_rows(feedback, settings, counts.funnel)]
        refused = [{name: row[name] for name in QUARANTINE.names} for row in batch if row["status"] == "quarantined"]
        counts.rows.update(bucket(row["conversation_hash"], settings.seed) for row in made)
        for row in batch:
            counts.tally.add(row)
        counts.rejected.update(bucket(row["row_id"], settings.seed) for row in refused)
        rows.append(table(made, WILDFB))
        rejected.append(table(refused, QUARANTINE))
    return {"rows": _concat(rows, WILDFB), REJECTED: _concat(rejected, QUARANTINE)}, counts


@ray.remote(num_returns=2)
def _drop(
    data: dict[str, pa.Table], counts: Sweep, reasons: np.ndarray, settings: LabelSettings
) -> tuple[dict[str, pa.Table], Sweep]:
    """The group without the rows that have a reason, and its counts without them."""
    names = [question.reason for question in rounds(settings)]
    rows, go = data["rows"], np.flatnonzero(reasons)
    for row, number in zip(rows.take(go).to_pylist(), reasons[go], strict=True):
        counts.funnel.take_back(row, names[number - 1])
        counts.rows[bucket(row["conversation_hash"], settings.seed)] -= 1
    counts.rows = +counts.rows
    return data | {"rows": rows.filter(reasons == 0)}, counts


@ray.remote
def _split(data: Mapping[str, pa.Table], parts: Sequence[Part], seed: int) -> list[pa.Table]:
    """The rows of each part, in the order of `parts`."""
    places = {name: np.array([bucket(key, seed) for key in data[name][KEYS[name]].to_pylist()]) for name in data}
    return [data[part.key].filter((places[part.key] >= part.first) & (places[part.key] < part.last)) for part in parts]


def _concat(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables(tables) if tables else schema.empty_table()


@ray.remote
def _write_part(part: Part, staging: str, *pieces: pa.Table) -> None:
    """Sort and write one file; a retried task overwrites itself with the same bytes."""
    schema = SCHEMAS[part.folder]
    whole = _concat(pieces, schema).sort_by(schema.names[0])
    buffer = io.BytesIO()
    pq.write_table(whole, buffer, compression="zstd")
    storage.write_bytes(storage.join(staging, part.folder, part.name), buffer.getvalue())
