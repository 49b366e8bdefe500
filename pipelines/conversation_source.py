"""Conversation files as a Ray Data source: one task a file (or share of a large Parquet file), FEEDBACK rows out.

Every record becomes exactly one row: kept, no_follow_up or quarantined. `row_id` is what the row checkpoint keeps.
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
from wildreward.conversations import (
    ID_COLUMNS,
    MESSAGE_COLUMNS,
    USER_COLUMNS,
    Conversation,
    Unreadable,
    read_conversation,
)
from wildreward.schema import FEEDBACK, table

COLUMNS = (*ID_COLUMNS, *USER_COLUMNS, *MESSAGE_COLUMNS, "model", "language")
"""What is read of a Parquet file: WildChat's moderation columns are larger than its conversations."""


class ConversationDatasource(Datasource):
    """FEEDBACK rows with turns that nobody has judged yet, in blocks of `batch_rows`."""

    def __init__(self, parts: Sequence[FilePart], batch_rows: int, limit: int | None = None) -> None:
        super().__init__()
        self._parts, self._batch_rows, self._limit = list(parts), batch_rows, limit

    def get_name(self) -> str:
        return "Conversations"

    def estimate_inmemory_data_size(self) -> int:
        return 3 * sum(part.size_bytes for part in self._parts)  # Parquet and gzip unpack to a few times their size

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One task a part whatever the parallelism: parts are the unit. With a limit one task reads them in order."""
        shares = [[part] for part in self._parts] if self._limit is None else [self._parts]
        return [_read_task(share, self._batch_rows, self._limit, per_task_row_limit) for share in shares]


def _read_task(parts: list[FilePart], batch_rows: int, limit: int | None, row_limit: int | None) -> ReadTask:
    metadata = BlockMetadata(
        num_rows=None,
        size_bytes=3 * sum(part.size_bytes for part in parts),
        input_files=tuple(part.path for part in parts),
        exec_stats=None,
    )
    return ReadTask(lambda: blocks(parts, batch_rows, limit), metadata, FEEDBACK, row_limit)


def blocks(parts: Iterable[FilePart], batch_rows: int, limit: int | None = None) -> Iterator[pa.Table]:
    """The parts as tables of at most `batch_rows` FEEDBACK rows; always at least one, if an empty one."""
    rows = itertools.islice((row for part in parts for row in feedback_rows(part, batch_rows)), limit)
    first = True
    while (batch := list(itertools.islice(rows, batch_rows))) or first:
        yield table(batch, FEEDBACK)
        first = False


def feedback_rows(part: FilePart, batch_rows: int = 64) -> Iterator[dict[str, Any]]:
    """One row for each record of a part."""
    for record in read_part(part, COLUMNS, batch_rows):
        yield feedback_row(part.path, record)


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
