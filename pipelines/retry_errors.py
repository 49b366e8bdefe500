"""`label --retry-errors`: takes back the conversations in which an answer failed, so that they are judged again.

Their ids leave the row checkpoint first, then their rows leave feedback/, file by file, each replaced at once. After an
interruption (LabelState.retrying says so) it is done again with what is left: no id is recorded that has no row.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from pipelines.feedback_files import batches, groups
from pipelines.recorded_blocks import ID_COLUMN, ID_TYPE, as_ids
from wildreward import storage

SPENT = ("attempts", "prompt_tokens", "completion_tokens")


def failed(feedback: str) -> tuple[np.ndarray, dict[str, int]]:
    """Row ids of the conversations in which an answer failed, and what their judgements had cost."""
    found = ray.get([_failed.options(name="FindErrors").remote(files) for files in groups(feedback)])
    spent: Counter[str] = Counter()
    for _, cost in found:
        spent.update(cost)
    return np.unique(np.concatenate([*(ids for ids, _ in found), np.empty(0, ID_TYPE)])), dict(spent)


def take_back(ids: np.ndarray, feedback: str, checkpoint: str) -> None:
    """Remove these conversations, as if they had never been judged."""
    known = ray.put(ids)
    for folder in (checkpoint, feedback):
        ray.get([_remove.options(name="TakeBackErrors").remote(files, known) for files in groups(folder)])


def has_error(row: Mapping[str, Any]) -> bool:
    """Whether an answer about a turn of this FEEDBACK row failed, to the first question or the second."""
    return any(turn["error"] is not None or turn["refusal_error"] is not None for turn in row["turns"] or ())


@ray.remote
def _failed(files: Sequence[str]) -> tuple[np.ndarray, Counter[str]]:
    """Row ids with errors in these feedback files, and what their judgements had cost."""
    rows = [row for batch in batches(files, columns=[ID_COLUMN, "turns"]) for row in batch if has_error(row)]
    spent = Counter(conversations=len(rows))
    for turn in (turn for row in rows for turn in row["turns"]):
        spent.update({name: turn[name] or 0 for name in SPENT})
    return np.array([row[ID_COLUMN] for row in rows], dtype=ID_TYPE), spent


@ray.remote
def _remove(files: Sequence[str], ids: np.ndarray) -> None:
    """Write those of the files anew that hold rows with these ids, without the rows."""
    for path in files:
        with storage.open_file(path) as handle:
            table = pq.read_table(handle)
        keep = ~np.isin(as_ids(table.column(ID_COLUMN)), ids)
        if keep.all():
            continue
        buffer = io.BytesIO()
        pq.write_table(table.filter(pa.array(keep)), buffer, compression="zstd")
        storage.write_bytes(path, buffer.getvalue())
