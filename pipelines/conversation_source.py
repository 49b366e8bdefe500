"""Conversation files as a Ray Data source: one task a file (or share of a large Parquet file), FEEDBACK rows out.

Every record of the sample becomes exactly one row: kept, no_follow_up or quarantined. `row_id` is what the row
checkpoint keeps.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from pipelines.conversation_files import BadRecord, FilePart, Record, read_part
from pipelines.quarantine_guard import Reporter
from wildreward.conversations import (
    ID_COLUMNS,
    MESSAGE_COLUMNS,
    USER_COLUMNS,
    Conversation,
    Unreadable,
    conversation_id,
    read_conversation,
)
from wildreward.schema import FEEDBACK, table
from wildreward.settings.label import LabelSettings
from wildreward.splits import sampled

COLUMNS = (*ID_COLUMNS, *USER_COLUMNS, *MESSAGE_COLUMNS, "model", "language")
"""What is read of a Parquet file: WildChat's moderation columns are larger than its conversations."""


class ConversationDatasource(Datasource):
    """FEEDBACK rows with turns that nobody has judged yet, in blocks of `label_batch_rows`.

    With `guard` (an actor handle of pipelines.quarantine_guard) reading ends with a DataError when too many rows are
    bad.
    """

    def __init__(self, parts: Sequence[FilePart], settings: LabelSettings, guard: Any = None) -> None:
        super().__init__()
        self._parts, self._settings, self._guard = list(parts), settings, guard

    def get_name(self) -> str:
        return "Conversations"

    def estimate_inmemory_data_size(self) -> int:
        return 3 * sum(part.size_bytes for part in self._parts)  # Parquet and gzip unpack to a few times their size

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One task a part whatever the parallelism: parts are the unit. With a limit one task reads them in order."""
        shares = [[part] for part in self._parts] if self._settings.limit is None else [self._parts]
        return [
            _read_task(share, self._settings, Reporter(self._guard, number), per_task_row_limit)
            for number, share in enumerate(shares)
        ]


def _read_task(parts: list[FilePart], settings: LabelSettings, reporter: Reporter, row_limit: int | None) -> ReadTask:
    metadata = BlockMetadata(
        num_rows=None,
        size_bytes=3 * sum(part.size_bytes for part in parts),
        input_files=tuple(part.path for part in parts),
        exec_stats=None,
    )
    return ReadTask(lambda: blocks(parts, settings, reporter), metadata, FEEDBACK, row_limit)


def blocks(parts: Iterable[FilePart], settings: LabelSettings, reporter: Reporter | None = None) -> Iterator[pa.Table]:
    """The sample of the parts as tables of at most `label_batch_rows` FEEDBACK rows; always at least one, if an empty
    one. With a limit only its first rows. Raises DataError when the reporter is told that too many rows are bad."""
    found = (row for part in parts for row in feedback_rows(part, settings))
    rows = itertools.islice(found, settings.limit)
    reporter = reporter or Reporter()
    first = True
    while (batch := list(itertools.islice(rows, settings.label_batch_rows))) or first:
        reporter.add(batch)
        yield table(batch, FEEDBACK)
        first = False
    reporter.finish()


def feedback_rows(part: FilePart, settings: LabelSettings) -> Iterator[dict[str, Any]]:
    """One row for each record of a part that is in the sample (`sample_frac`)."""
    frac, seed = settings.sample_frac, settings.seed
    for record in read_part(part, COLUMNS, settings.label_batch_rows):
        name = conversation_id(record.value) if isinstance(record, Record) else None
        if name is not None and not sampled(name, frac, seed):
            continue  # before it is read: to detect a language costs more than the rest
        row = feedback_row(part.path, record)
        if name is not None or sampled(row["conversation_hash"] or row["row_id"], frac, seed):
            yield row


def feedback_row(path: str, record: Record | BadRecord) -> dict[str, Any]:
    """The FEEDBACK row of one record, its turns not judged."""
    found = _read(record)
    row = {
        "row_id": row_id(path, record.row, found.conversation_hash),
        "conversation_hash": found.conversation_hash,
        "source_file": path,
        "source_row": record.row,
    }
    if isinstance(found, Unreadable):
        return row | {"status": "quarantined", "reason": found.reason, "detail": found.detail}
    return row | {
        "status": "kept" if found.turns else "no_follow_up",
        "model": found.model,
        "language": found.language,
        "user": found.user,
        "messages": found.messages,
        "skipped_messages": [asdict(message) for message in found.skipped],
        "turns": [asdict(turn) for turn in found.turns],
    }


def _read(record: Record | BadRecord) -> Conversation | Unreadable:
    if isinstance(record, BadRecord):
        return Unreadable(record.reason, record.detail, None)
    if not isinstance(record.value, Mapping):
        return Unreadable("wrong_type", f"the row is {type(record.value).__name__}, not an object with messages", None)
    return read_conversation(record.value)


def row_id(path: str, row: int | None, conversation_hash: str | None) -> str:
    """24 hexadecimal digits, unique in a run: two equal conversations, and two bad rows, are still two rows."""
    return hashlib.sha256(f"{path}\0{row}\0{conversation_hash}".encode("utf-8", "surrogatepass")).hexdigest()[:24]
