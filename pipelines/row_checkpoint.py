"""How Ray Data's row checkpoint is loaded: which conversations a run need not judge again.

Ray's own loader reads the recorded ids as a dataset with a shuffle into one block, which needs CPU slots that the run's
own actors may hold. This one reads them in one task, and cleans up as Ray's does before.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from pyarrow.fs import FileSelector, FileSystem
from ray.data import DataContext
from ray.data.checkpoint import CheckpointConfig, CheckpointManager

ID_COLUMN = "row_id"


def use_row_checkpoint(context: DataContext, path: str) -> None:
    """Record the `row_id` of every row written under this context in `path`, and skip those that are there."""
    context.checkpoint_config = CheckpointConfig(
        ID_COLUMN, path, delete_checkpoint_on_success=False, checkpoint_manager_cls=RecordedRows
    )


class RecordedRows(CheckpointManager):
    """Loads the ids as the sorted array that Ray's filter searches."""

    def load_checkpoint(self, data_file_dir: str | None = None, data_file_filesystem: Any = None) -> tuple[Any, int]:
        """(reference to the ids, their bytes), or (None, 0). Data of blocks that were not recorded is deleted first."""
        self._clean_pending_checkpoints(data_file_dir, data_file_filesystem)
        loading: Any = _recorded_ids.remote(self.checkpoint_path_unwrapped, self.filesystem)
        ids, size_ref = loading
        size_bytes = ray.get(size_ref)
        return (ids, size_bytes) if size_bytes else (None, 0)


@ray.remote(num_cpus=0, num_returns=2)
def _recorded_ids(folder: str, filesystem: FileSystem) -> tuple[np.ndarray, int]:
    entries = filesystem.get_file_info(FileSelector(folder, allow_not_found=True))
    paths = sorted(entry.path for entry in entries if entry.is_file and entry.path.endswith(".parquet"))
    tables = [pq.read_table(path, columns=[ID_COLUMN], filesystem=filesystem, partitioning=None) for path in paths]
    if not tables:
        return np.array([], dtype=object), 0
    column = pa.concat_tables(tables).column(ID_COLUMN)
    return np.sort(column.to_numpy(zero_copy_only=False)), column.nbytes * 3  # as Python strings they take more
