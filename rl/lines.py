"""A JSONL file that grows while a run works, local or in an object store, which knows no appending.

Rows of steps after the one a run continues from are dropped first: they are written again, and equal.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wildreward import storage

UPLOADING_FRAC = 0.05
"""Most of the time that goes into uploads, which are of the whole file."""


class Lines:
    """Rows have a `step`. Memory holds none of them."""

    def __init__(self, path: str, step: int) -> None:
        self._path, self._remote = path, not storage.is_local(path)
        self._directory = tempfile.TemporaryDirectory(prefix="wildreward-lines-") if self._remote else None
        name = path.rsplit("/", 1)[-1]
        self._file = Path(self._directory.name, name) if self._directory else Path(storage.plain(path))
        self._next_upload, self._uploaded = 0.0, True
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.last_step = self._keep_until(step)

    def _keep_until(self, step: int) -> int:
        """The last step that was there."""
        last, temporary = -1, self._file.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as handle:
            for row in read_lines(self._path):
                last = max(last, row["step"])
                if row["step"] <= step:
                    handle.write(_text(row))
        os.replace(temporary, self._file)
        return last

    def append(self, row: Mapping[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as handle:
            handle.write(_text(row))
        self._uploaded = False

    def flush(self, now: bool = False) -> None:
        """Upload, when it is time for it, or `now`. A local file is there already."""
        began = time.monotonic()
        if not self._remote or self._uploaded or (began < self._next_upload and not now):
            return
        storage.upload(str(self._file), self._path)
        self._uploaded = True
        self._next_upload = began + (time.monotonic() - began) / UPLOADING_FRAC

    def close(self) -> None:
        self.flush(now=True)
        if self._directory:
            self._directory.cleanup()


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file, one after the other; a last line cut short by a kill is left out."""
    if not storage.exists(storage.refreshed(str(path))):
        return
    with storage.open_file(str(path)) as handle:
        for line in handle:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _text(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
