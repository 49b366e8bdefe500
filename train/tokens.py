"""Tokenised rows on the run's storage: written once by Ray tasks, one Arrow file a shard, read by every worker.

A shard is made of whole row groups, in the order of the input files, and is written atomically: a second run of the
same command writes only the shards that are missing. Workers memory-map the shards, those of an object store from a
copy on their own disk: of a row they hold its number, its length and its label, 24 bytes.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.batching import Rows
from wildreward.errors import DataError, UsageError
from wildreward.labelling import LabelCounts, Labelling, check_counts, class_probs
from wildreward.progress import Progress
from wildreward.scale import LEVELS
from wildreward.schema import WILDFB
from wildreward.template import InputTemplate

SHARD_ROWS = 4096
BATCH_ROWS = 256
COPY_BYTES = 1 << 24
NEEDED = ("id", "conversation_hash", "messages")
LABELS = ("label", "level", "level_probs")
"""What classes are made of. Kept as they are, those that a file has: runs with other class maps share the tokens."""

TOKENS = pa.schema(
    [
        ("id", pa.string()),
        ("conversation_hash", pa.string()),
        ("label", pa.int8()),
        ("level", pa.int8()),
        ("level_probs", pa.list_(pa.float32())),
        ("input_ids", pa.list_(pa.int32())),
        ("prompt_tokens_cut", pa.int32()),
        ("response_tokens_cut", pa.int32()),
    ]
)


@dataclass(frozen=True)
class SourceFile:
    """One WildFB parquet file: rows per row group, and what its labels are, checked before anything runs."""

    path: str
    group_rows: tuple[int, ...]
    labels: LabelCounts


@dataclass(frozen=True)
class Shard:
    """Row groups (path, group) that make one token file."""

    name: str
    pieces: tuple[tuple[str, int], ...]
    rows: int


def resolve(inputs: Sequence[str]) -> list[str]:
    """Training files meant by `--input`: a label run's directory, its wildfb/ or wildfb/train, or plain files.

    What lies in a folder called test is left alone: it is for `evaluate`. Raises UsageError when nothing is left.
    """
    found: list[str] = []
    for item in inputs:
        nested = storage.join(item, "wildfb")
        paths = storage.expand([nested if storage.exists(nested) else item], [".parquet"])
        found += [path for path in paths if path.split("/")[-2:-1] != ["test"]]
    if not found:
        raise UsageError(
            f"--input {' '.join(inputs)}: no training rows (wildfb/train/*.parquet); test is never trained on"
        )
    return list(dict.fromkeys(found))


def inspect(paths: Sequence[str], labelling: Labelling) -> list[SourceFile]:
    """Read the footers and labels. Raises DataError naming the file and the column, or the row, that cannot be used."""
    files = [_inspect_file(path, labelling) for path in paths]
    check_counts(counts_of(files), labelling, _named(files))
    return files


def _inspect_file(path: str, labelling: Labelling) -> SourceFile:
    with storage.open_file(path) as handle:
        try:
            parquet = pq.ParquetFile(handle)
            wanted = [*NEEDED, *labelling.columns]
            missing = [name for name in wanted if name not in parquet.schema_arrow.names]
            if missing:
                raise DataError(f"{path}: column {', '.join(missing)} is missing; WildFB rows have {WILDFB.names}")
            counts = _count_labels(path, parquet, labelling)
        except pa.ArrowException as error:
            raise DataError(f"{path}: not a readable parquet file: {error}") from error
        groups = tuple(parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups))
    return SourceFile(path, groups, counts)


def _count_labels(path: str, parquet: pq.ParquetFile, labelling: Labelling) -> LabelCounts:
    """Batch by batch: memory does not grow with the file."""
    counts, row = LabelCounts(), 0
    for batch in parquet.iter_batches(columns=list(labelling.columns)):
        for values in batch.to_pylist():
            try:
                counts.add(values, labelling)
            except ValueError as error:
                raise DataError(f"{path}: row {row}: {error}") from None
            row += 1
    return counts


def counts_of(files: Sequence[SourceFile]) -> LabelCounts:
    return sum((file.labels for file in files), LabelCounts())


def _named(files: Sequence[SourceFile]) -> str:
    return ", ".join(file.path for file in files) or "its folder"


def check_split(name: str, files: Sequence[SourceFile]) -> None:
    """Raises DataError for a split with no rows or of one class only."""
    counts = counts_of(files)
    if not counts.rows:
        dropped = f" (the class map drops all {counts.dropped})" if counts.dropped else ""
        raise DataError(f"the {name} split is empty: no rows in {_named(files)}{dropped}")
    if len(counts.classes) == 1:
        raise DataError(
            f"the {name} split has one class only ({next(iter(counts.classes))}); an ordinal model needs at least two"
        )


def shards(name: str, files: Sequence[SourceFile]) -> list[Shard]:
    """Row groups in file order, packed into shards of about SHARD_ROWS rows."""
    done: list[Shard] = []
    pieces: list[tuple[str, int]] = []
    rows = 0
    for file in files:
        for group, count in enumerate(file.group_rows):
            pieces.append((file.path, group))
            rows += count
            if rows >= SHARD_ROWS:
                done.append(Shard(f"{name}-{len(done):05d}.arrow", tuple(pieces), rows))
                pieces, rows = [], 0
    if rows:
        done.append(Shard(f"{name}-{len(done):05d}.arrow", tuple(pieces), rows))
    return done


def tokenise(plan: Sequence[Shard], directory: str, template: InputTemplate, tokenizer: Any) -> None:
    """Write the shards that are not there yet, as Ray tasks. Raises DataError naming file and row."""
    import ray

    # Spread over nodes, and outside the placement group of a trial of Tune, which has no room for work.
    task = ray.remote(write_shard).options(scheduling_strategy="SPREAD", name="TokeniseRows")
    shared, kind = ray.put(tokenizer), ray.put(template)
    missing = [shard for shard in plan if not storage.exists(storage.join(directory, shard.name))]
    with Progress("tokenising rows", total=sum(shard.rows for shard in plan)) as progress:
        progress.advance(sum(shard.rows for shard in plan) - sum(shard.rows for shard in missing))
        pending = {task.remote(shard, directory, kind, shared): shard for shard in missing}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            ray.get(done)
            progress.advance(pending.pop(done).rows)


def write_shard(shard: Shard, directory: str, template: InputTemplate, tokenizer: Any) -> None:
    """Tokenise the pieces of one shard into `directory`/`shard.name`; BATCH_ROWS rows are held at a time."""
    with (
        storage.writing(storage.join(directory, shard.name)) as handle,
        pa.ipc.new_file(handle, TOKENS) as writer,
    ):
        for path, group in shard.pieces:
            for columns in _tokenised(path, group, template, tokenizer):
                writer.write_table(pa.table(columns, schema=TOKENS))


def _tokenised(path: str, group: int, template: InputTemplate, tokenizer: Any) -> Iterator[dict[str, list[Any]]]:
    index = 0
    with storage.open_file(path) as handle:
        parquet = pq.ParquetFile(handle)
        kept = [*NEEDED, *(name for name in LABELS if name in parquet.schema_arrow.names)]
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=kept):
            columns: dict[str, list[Any]] = {name: [] for name in TOKENS.names}
            for row in batch.to_pylist():
                try:
                    encoded = template.encode(row["messages"] or [], tokenizer)
                except DataError as error:
                    raise DataError(f"{path}: row group {group}, row {index} (id {row['id']}): {error}") from None
                for name, value in {**dict.fromkeys(LABELS), **row, **vars(encoded)}.items():
                    if name in columns:
                        columns[name].append(value)
                index += 1
            yield columns


@dataclass
class TokenStore:
    """Rows of a split by number. `rows` limits it to some of the rows of its shards.

    A row costs 24 bytes of memory; token ids and level probabilities stay in the (memory-mapped) table.
    """

    table: pa.Table
    rows: Rows
    labelling: Labelling
    lengths: Rows = field(init=False)
    labels: Rows = field(init=False)

    def __post_init__(self) -> None:
        import pyarrow.compute as pc

        lengths = pc.list_value_length(self.table.column("input_ids")).to_numpy()
        self.lengths = lengths[self.rows].astype(np.int64)
        self.labels = classes(self.table, self.labelling)[self.rows]
        self._ids = self.table.column("input_ids")

    def __len__(self) -> int:
        return len(self.rows)

    def input_ids(self, row: int) -> list[int]:
        return self._ids[int(self.rows[row])].as_py()

    def conversations(self) -> list[str]:
        """The conversation of each row."""
        names = self.all_conversations()
        return [names[row] for row in self.rows.tolist()]

    def all_conversations(self) -> list[str]:
        """Of every row of the shards, those that the class map or a split leaves out too."""
        names: list[str] = self.table.column("conversation_hash").to_pylist()
        return names

    def class_probs(self, rows: Sequence[int]) -> list[list[float]]:
        """(B, C) target distributions: soft ones where asked for and there, else all on the class of the row."""
        return [self._class_probs(row) for row in rows]

    def _class_probs(self, row: int) -> list[float]:
        level_map, given = self.labelling.level_map, None
        if self.labelling.soft and level_map is not None:
            level_probs = self.table.column("level_probs")[int(self.rows[row])].as_py()
            given = None if level_probs is None else class_probs(level_probs, level_map)
        label = int(self.labels[row])
        return given or [float(name == label) for name in range(1, self.labelling.num_classes + 1)]

    def subset(self, keep: Rows) -> "TokenStore":
        return TokenStore(self.table, self.rows[keep], self.labelling)


def classes(table: pa.Table, labelling: Labelling) -> Rows:
    """The class of every row of the table, 0 where the class map drops it."""
    if labelling.level_map is None:
        return table.column("label").to_numpy().astype(np.int64)
    by_level = np.zeros(max(LEVELS) + 1, dtype=np.int64)
    for level, name in labelling.level_map.items():
        by_level[level] = name
    return by_level[table.column("level").to_numpy()]


def read(directory: str, names: Sequence[str], labelling: Labelling) -> TokenStore:
    """The rows of these shards that have a class, in order."""
    tables = list(_tables(directory, names))
    table = pa.concat_tables(tables) if tables else TOKENS.empty_table()
    return TokenStore(table, np.flatnonzero(classes(table, labelling)), labelling)


def _tables(directory: str, names: Sequence[str]) -> Iterator[pa.Table]:
    for name in names:
        path = storage.join(directory, name)
        if storage.is_local(path):
            yield pa.ipc.open_file(pa.memory_map(storage.plain(path))).read_all()
        else:
            yield _fetched(path)


def _fetched(path: str) -> pa.Table:
    """A shard of an object store, memory-mapped from a local copy, whose space is free when the table is let go."""
    handle, copy = tempfile.mkstemp(prefix="wildreward-tokens-")
    try:
        with os.fdopen(handle, "wb") as local, storage.open_file(path) as remote:
            shutil.copyfileobj(remote, local, COPY_BYTES)
        return pa.ipc.open_file(pa.memory_map(copy)).read_all()
    finally:
        os.unlink(copy)
