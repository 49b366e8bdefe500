"""Models that lie elsewhere (s3://, gs://, hf://, any fsspec URL), as directories of the machine that loads them.

A model is fetched once a machine and version, to ~/.cache/wildreward/models or where WILDREWARD_MODELS says. The
version is a hash over name, size and ETag (or time) of its files: one that was replaced is fetched again, under another
name. A directory is there when all of it is. Old versions stay until somebody deletes the folder.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from wildreward import storage
from wildreward.errors import CheckpointError

PLACE = "WILDREWARD_MODELS"
WEIGHTS = (".safetensors", ".bin")
SUFFIXES = frozenset({".json", ".txt", ".jinja", ".model", ".py", *WEIGHTS})
"""Files that make a model. Others (logs, optimizer states) stay where they are."""

_AT_ONCE = 4


def is_url(name: str) -> bool:
    return not storage.is_local(name)


def local_copy(name: str) -> str:
    """What `from_pretrained` takes: a model at a URL is fetched, another name is itself. Raises CheckpointError."""
    return str(_fetched(name, lambda file: True)) if is_url(name) else name


def described(name: str) -> Path:
    """The directory without its weights, which are large: enough to say what kind of model it is."""
    return _fetched(name, lambda file: not file.endswith(WEIGHTS)) if is_url(name) else Path(name)


def has_weights(name: str) -> bool:
    """Whether a directory or URL holds safetensors."""
    return any(file.endswith(".safetensors") for file in _listed(name))


def weight_bytes(name: str) -> int:
    """Size of all its weights. Raises CheckpointError where there is no such directory."""
    return sum(int(info.get("size") or 0) for file, info in _listed(name).items() if file.endswith(WEIGHTS))


def marks_of(name: str) -> dict[str, str]:
    """File of a model at a URL to its size and ETag or time. Raises CheckpointError where none is there."""
    return {file: storage.mark(info) for file, info in _listed(name).items()}


def _listed(name: str) -> dict[str, Mapping[str, Any]]:
    """Path below the directory or URL to what fsspec says of the file."""
    fs, inner = storage.filesystem(name)
    fs.invalidate_cache()  # it may have been replaced since this process last looked
    try:
        found = fs.find(inner, detail=True)
    except storage.unreachable() as error:
        raise CheckpointError(f"{name}: cannot be read: {error}") from error
    base = inner.rstrip("/") + "/"
    files = {
        path.removeprefix(base): info
        for path, info in sorted(found.items())
        if path.startswith(base) and Path(path).suffix in SUFFIXES
    }
    if not files:
        raise CheckpointError(f"{name}: no such directory, or no file of a model in it")
    return files


def _fetched(name: str, wanted: Callable[[str], bool]) -> Path:
    marks = {file: mark for file, mark in marks_of(name).items() if wanted(file)}
    key = hashlib.blake2b(json.dumps([name, marks]).encode(), digest_size=8).hexdigest()
    target = _place() / f"{name.rstrip('/').rsplit('/', 1)[-1]}-{key}"
    if not target.is_dir():
        _fetch(name, marks, target)
    return target


def _place() -> Path:
    return Path(os.environ.get(PLACE) or Path.home() / ".cache" / "wildreward" / "models")


def _fetch(name: str, marks: Mapping[str, str], target: Path) -> None:
    """All files under another name, then renamed; another process may be at it too, and one of them is first."""
    fs, inner = storage.filesystem(name)

    def get(file: str) -> None:
        (made / file).parent.mkdir(parents=True, exist_ok=True)
        fs.get_file(storage.join(inner, file), str(made / file))

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as temporary:
            made = Path(temporary) / "model"
            made.mkdir()
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(get, marks))
            try:
                made.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
    except storage.unreachable() as error:
        room = shutil.disk_usage(_nearest(target)).free
        raise CheckpointError(
            f"{name}: cannot be fetched to {target.parent} ({room / 1e9:.1f} GB free there; {PLACE} names another "
            f"place): {error}"
        ) from error


def _nearest(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
