"""Files wherever they are: local paths, globs, directories, s3://, gs://, hf:// and anything else fsspec opens.

Writes of single files are atomic: a reader sees the old file or the new one, never half of it.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import IO, Any

import fsspec

from wildreward.errors import DataError, UsageError


def filesystem(path: str) -> tuple[Any, str]:
    """(fsspec filesystem, path on it). Raises UsageError for a protocol that is unknown or not installed."""
    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None


def is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")


def join(base: str, *parts: str) -> str:
    return "/".join([base.rstrip("/"), *parts])


def expand(patterns: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """All files meant by paths, globs and directories (searched in depth), sorted, with their protocol, each once.

    Raises UsageError for a pattern that matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            matches = find(pattern, suffixes)
        except unreachable() as error:
            raise UsageError(f"--input {pattern}: cannot be read: {error}") from error
        if not matches:
            raise UsageError(f"--input {pattern}: no file found (files read end with {', '.join(suffixes)})")
        found |= dict.fromkeys(matches)
    return list(found)


def unreachable() -> tuple[type[Exception], ...]:
    """What a filesystem raises that is not there or not reachable; the Hub's speaks HTTP."""
    import httpx2

    return OSError, httpx2.HTTPError


def find(pattern: str, suffixes: Sequence[str]) -> list[str]:
    """All files meant by one path, glob or directory (searched in depth), sorted, with their protocol; maybe none."""
    fs, path = filesystem(pattern)
    names = fs.find(path) if fs.isdir(path) else fs.glob(path) if _is_glob(path) or fs.exists(path) else []
    matches = sorted(name for name in names if name.endswith(tuple(suffixes)) and not _hidden(name, path))
    return [name if is_local(pattern) else fs.unstrip_protocol(name) for name in matches]


def _is_glob(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def _hidden(name: str, base: str) -> bool:
    """Files such as `.part` or `_SUCCESS` below the directory asked for are bookkeeping of whoever wrote them."""
    return any(part.startswith((".", "_")) for part in name.removeprefix(base).split("/"))


@contextlib.contextmanager
def open_file(path: str, mode: str = "rb") -> Iterator[IO[Any]]:
    """Open for reading. Raises DataError naming the file."""
    fs, inner = filesystem(path)
    try:
        handle = fs.open(inner, mode)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    with handle:
        yield handle


def exists(path: str) -> bool:
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def read_text(path: str) -> str:
    with open_file(path) as handle:
        return handle.read().decode("utf-8")


def write_bytes(path: str, data: bytes) -> None:
    """Write a whole file atomically, making its directory."""
    fs, inner = filesystem(path)
    fs.makedirs(os.path.dirname(inner), exist_ok=True)
    if not is_local(path):
        fs.pipe_file(inner, data)  # object stores publish an object only when its upload is complete
        return
    temporary = f"{inner}.{os.getpid()}.tmp"
    with open(temporary, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, inner)


def write_text(path: str, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def remove(path: str) -> None:
    """Delete a file or a directory tree, if it is there."""
    fs, inner = filesystem(path)
    if fs.exists(inner):
        fs.rm(inner, recursive=True)
