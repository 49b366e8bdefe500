"""Files wherever they are: local paths, globs, directories, s3://, gs://, hf:// and anything else fsspec opens.

Writes of single files are atomic: a reader sees the old file or the new one, never half of it.
"""

import contextlib
import os
import re
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import fsspec

from wildreward.errors import DataError, UsageError

_PART = re.compile(r"(?P<folder>(^|.*/)wildfb/(train|test))/part-\d{5}-of-(?P<total>\d{5})\.parquet$")
"""A file of WildFB rows as `label` names it."""

CLOUD_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"), ("gcsfs.retry", "HttpError"),
)  # fmt: skip
"""Where they are once a filesystem that raises them was used."""

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "r2"})


def filesystem(path: str) -> tuple[Any, str]:
    """(fsspec filesystem, path on it). Raises UsageError for a protocol that is unknown or not installed."""
    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None


def plain(path: str) -> str:
    """A local path as the system takes it.

    >>> plain("file:///tmp/a"), plain("runs/a")
    ('/tmp/a', 'runs/a')
    """
    return path.removeprefix("file://")


def is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")


def join(base: str, *parts: str) -> str:
    return "/".join([base.rstrip("/"), *parts])


def expand(patterns: Sequence[str], suffixes: Sequence[str], flag: str = "--input") -> list[str]:
    """All files meant by paths, globs and directories (searched in depth), sorted, with their protocol, each once.

    Raises UsageError for a pattern that matches nothing, DataError for a directory with WildFB rows that are not all
    there: an object store has no renames, so the run that publishes them may be at it, or have been killed at it.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            matches = find(pattern, suffixes)
        except unreachable() as error:
            raise UsageError(f"{flag} {pattern}: cannot be read: {error}") from error
        if not matches:
            raise UsageError(f"{flag} {pattern}: no file found (files read end with {', '.join(suffixes)})")
        found |= dict.fromkeys(matches)
    return list(found)


def _check_parts(names: Sequence[str]) -> None:
    """Every `part-00000-of-00003.parquet` says how many there are."""
    parts = [match for name in names if (match := _PART.search(name))]
    for (folder, total), there in Counter((match["folder"], int(match["total"])) for match in parts).items():
        if there != total:
            raise DataError(
                f"{folder}: {there} of {total} files are there: the label run that writes them is not done, or was "
                "killed; run the same label command again"
            )


def unreachable() -> tuple[type[Exception], ...]:
    """What a filesystem raises that is not there or not reachable; the Hub's speaks HTTP, clouds have trees of their
    own (no credentials, for one)."""
    import httpx2

    modules = [(sys.modules.get(module), name) for module, name in CLOUD_ERRORS]
    return OSError, httpx2.HTTPError, *(getattr(module, name) for module, name in modules if module)


def find(pattern: str, suffixes: Sequence[str]) -> list[str]:
    """All files meant by one path, glob or directory (searched in depth), sorted, with their protocol; maybe none.

    Raises DataError for a directory whose numbered parts are not all there.
    """
    fs, path = filesystem(pattern)
    is_dir = fs.isdir(path)
    names = fs.find(path) if is_dir else fs.glob(path) if _is_glob(path) or fs.exists(path) else []
    matches = sorted(name for name in names if name.endswith(tuple(suffixes)) and not _hidden(name, path))
    if is_dir:
        _check_parts(matches)
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


def mark(info: Mapping[str, Any]) -> str:
    """Size of a file and its ETag or time of change, of what fsspec's `info` says: another text for another version."""
    when = next((info[name] for name in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(name)), "")
    return f"{info.get('size')} bytes, {when}"


def exists(path: str) -> bool:
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def children(path: str) -> list[str]:
    """Files and directories right in a directory; none where there is no such directory."""
    fs, inner = filesystem(path)
    names = fs.ls(inner, detail=False) if fs.isdir(inner) else []
    return sorted({join(path, os.path.basename(name.rstrip("/"))) for name in names} - {path})


def read_text(path: str) -> str:
    with open_file(path) as handle:
        return handle.read().decode("utf-8")


def write_bytes(path: str, data: bytes) -> None:
    """Write a whole file atomically, making its directory."""
    if not is_local(path):
        fs, inner = filesystem(path)
        _make_folder(fs, path, inner)
        fs.pipe_file(inner, data)  # object stores publish an object only when its upload is complete
        return
    with writing(path) as handle:
        handle.write(data)


@contextlib.contextmanager
def writing(path: str) -> Iterator[IO[bytes]]:
    """A file to be written piece by piece, atomically: it is there when the block ends, and not if the block raises.

    For an object store it is written to a temporary file of this machine first.
    """
    fs, inner = filesystem(path)
    _make_folder(fs, path, inner)
    temporary = f"{inner}.{uuid.uuid4().hex[:8]}.tmp" if is_local(path) else _temporary_file()
    try:
        with open(temporary, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if is_local(path):
            os.replace(temporary, inner)
        else:
            fs.put_file(temporary, inner)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def _make_folder(fs: Any, path: str, inner: str) -> None:
    """Of a file to be written. An object store has none: there the bucket would be made, of a name mistyped as well."""
    if path.split("://", 1)[0] not in OBJECT_STORES:
        fs.makedirs(os.path.dirname(inner), exist_ok=True)


def _temporary_file() -> str:
    handle, path = tempfile.mkstemp(prefix="wildreward-", suffix=".tmp")
    os.close(handle)
    return path


def write_text(path: str, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def remove(path: str) -> None:
    """Delete a file or a directory tree, if it is there."""
    fs, inner = filesystem(path)
    if fs.exists(inner):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            fs.rm(inner, recursive=True)


def copy_directory(source: str, target: str) -> None:
    """Copy all files below a directory to another, which is made. Within one object store the store itself copies.

    Files are streamed: none is held in memory.
    """
    (from_fs, base), (to_fs, place) = filesystem(source), filesystem(target)
    from_fs.invalidate_cache()  # another process may have written them
    for name in from_fs.find(base):
        inner = join(place, name.removeprefix(base).lstrip("/"))
        _make_folder(to_fs, target, inner)
        if from_fs is to_fs:
            to_fs.cp_file(name, inner)
        elif is_local(source):
            to_fs.put_file(name, inner)
        else:
            from_fs.get_file(name, inner)


def refreshed(path: str) -> str:
    """`path`, with what this process remembers of its file system's listings forgotten: others write there too."""
    filesystem(path)[0].invalidate_cache()
    return path


def upload(local: str, path: str) -> None:
    """A file of this machine to an object store, where it is complete or not there."""
    fs, inner = filesystem(path)
    _make_folder(fs, path, inner)
    fs.put_file(local, inner)
