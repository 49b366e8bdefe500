"""What outputs were made from: sizes and times of files, so that a continued run notices when one was replaced."""

from collections.abc import Sequence
from pathlib import Path

from wildreward import storage


def origin_of(paths: Sequence[str]) -> dict[str, str]:
    """For each file its size and its ETag or time of change; a directory stands for the files in it."""
    found: dict[str, str] = {}
    for path in paths:
        for file in _inside(path) or [path]:
            if storage.exists(file):  # a model's hub id is not a file
                fs, inner = storage.filesystem(file)
                found[file] = storage.mark(fs.info(inner))
    return found


def _inside(path: str) -> list[str]:
    """Files in a directory, sorted; none for what is no directory."""
    if storage.is_local(path):
        return sorted(str(file) for file in Path(path).rglob("*") if file.is_file()) if Path(path).is_dir() else []
    fs, inner = storage.filesystem(path)
    return sorted(fs.unstrip_protocol(name) for name in fs.find(inner)) if fs.isdir(inner) else []


def changed(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Files that are new, gone or different.

    >>> changed({"a": "1", "b": "1"}, {"a": "1", "b": "2", "c": "1"})
    ['b', 'c']
    """
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
