"""Ray Train's list of a run's checkpoints, kept twice.

Ray writes the list in place, after a checkpoint is complete and before older ones are deleted. Killed while it does, or
on a full disk, it leaves half a file, which it then refuses to read. So each time a checkpoint is about to be added the
list as it is goes into a second file: what that one names is still there.
"""

import json

from wildreward import storage

LIST = "checkpoint_manager_snapshot.json"
BEFORE = "checkpoint_list_before.json"


def keep_list(run_path: str) -> None:
    """Copy the list, if there is one that can be read. The copy is complete or the one before."""
    path = storage.join(run_path, LIST)
    if storage.exists(path) and _readable(text := storage.read_text(path)):
        storage.write_text(storage.join(run_path, BEFORE), text)


def mend_list(run_path: str) -> None:
    """Put the copy in the place of a list that was cut off. Without a copy the run starts from its beginning, with the
    same result."""
    path, copy = storage.join(run_path, LIST), storage.join(run_path, BEFORE)
    if not storage.exists(path) or _readable(storage.read_text(path)):
        return
    if storage.exists(copy):
        storage.write_text(path, storage.read_text(copy))
        return
    print(f"train: {path} was cut off; starting from step 0")
    storage.remove(run_path)


def _readable(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
