"""How Ray Data's row checkpoint is loaded: which conversations a run need not judge again.

Ray's own loader deletes the file of a block that is both recorded and pending (its conversations would be lost), reads
the records by a shuffle that needs CPU slots which the run's own actors may hold, and keeps ids as Python strings in
every filter actor: 400 MB each for five million conversations.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataContext
from ray.data.checkpoint import CheckpointConfig, CheckpointFilter, CheckpointManager
from ray.data.datasource.path_util import _unwrap_protocol

from pipelines.recorded_blocks import ID_COLUMN, ID_TYPE, Folder, as_ids, is_among, settle

READERS = 32
"""Records read at once: there is one for every few dozen conversations, and an object store takes 50 ms for each."""


def use_row_checkpoint(context: DataContext, path: str) -> None:
    """Record the `row_id` of every row written under this context in `path`, and skip those that are there."""
    context.checkpoint_config = CheckpointConfig(
        ID_COLUMN,
        path,
        delete_checkpoint_on_success=False,
        checkpoint_manager_cls=RecordedRows,
        checkpoint_filter_cls=SkipRecorded,
    )


class RecordedRows(CheckpointManager):
    """Loads the ids as the sorted array that `SkipRecorded` searches."""

    def load_checkpoint(self, data_file_dir: str | None = None, data_file_filesystem: Any = None) -> tuple[Any, int]:
        """(reference to the ids, their bytes), or (None, 0). Only blocks that are whole count; the rest is deleted."""
        if data_file_dir is None:
            raise ValueError("the row checkpoint is for runs that write files")
        records = Folder(self.filesystem, self.checkpoint_path_unwrapped)
        whole = settle(records, Folder(data_file_filesystem or self.filesystem, _unwrap_protocol(data_file_dir)))
        loading: Any = _sorted_ids.options(name="LoadRecordedRows").remote(records, whole)
        ids, size_ref = loading
        size_bytes = ray.get(size_ref)
        return (ids, size_bytes) if size_bytes else (None, 0)


class SkipRecorded(CheckpointFilter):
    """Lets the conversations pass that are not recorded."""

    def __init__(self, checkpoint_config: CheckpointConfig, checkpoint_ref: Any) -> None:
        super().__init__(checkpoint_config, checkpoint_ref)
        self._recorded = ray.get(checkpoint_ref)

    def filter_rows_for_block(self, block: pa.Table) -> pa.Table:
        return block.filter(pa.array(~is_among(as_ids(block.column(ID_COLUMN)), self._recorded)))


@ray.remote(num_cpus=0, num_returns=2)
def _sorted_ids(records: Folder, names: list[str]) -> tuple[np.ndarray, int]:
    with ThreadPoolExecutor(READERS) as pool:
        parts = list(pool.map(records.ids, names))
    ids = np.sort(np.concatenate([*parts, np.empty(0, ID_TYPE)]))
    return ids, ids.nbytes
