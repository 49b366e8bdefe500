"""Checkpoints as files: where they are, what kind of reward model they hold, and what identifies them.

The identity is a content hash of weights, config, tokenizer and template, so a score can be kept by it: the same files
under another name have the same scores, and a checkpoint that was trained on has others.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wildreward import storage
from wildreward.errors import CheckpointError, UsageError
from wildreward.fetched import SUFFIXES, described, is_url, local_copy, marks_of
from wildreward.template import FILE_NAME

CONFIG = "config.json"
CHAT = "chat"
"""What --template may say besides a file: the tokenizer's own chat template."""

_HASHED_AT_ONCE = 4


def is_directory_name(name: str) -> bool:
    """Whether this is meant as a path or URL; a hub id is `owner/name` and no directory here."""
    if is_url(name):
        return True
    path = Path(name)
    return path.is_dir() or path.is_absolute() or name.startswith(".") or name.count("/") != 1


def check_files(name: str, template: str | None, chat_source: str | None = None) -> None:
    """What can be known without loading anything. Raises UsageError naming the flag; a hub id is not looked at."""
    if template and chat_source:
        raise UsageError("--chat-template: not together with --template; one of them says how to read the checkpoint")
    if template and template != CHAT and not storage.exists(template):
        raise UsageError(f"--template {template}: no such file; allowed are a template file and {CHAT!r}")
    if not is_directory_name(name):
        return
    try:
        path = described(name)
    except CheckpointError as error:
        raise UsageError(f"--checkpoint {error}") from error
    if not path.is_dir():
        raise UsageError(f"--checkpoint {name}: no such directory")
    if not (path / CONFIG).is_file():
        raise UsageError(f"--checkpoint {name}: no {CONFIG} in it; not a reward model")
    carries_one = (path / FILE_NAME).is_file()
    if chat_source and carries_one:
        raise UsageError(f"--chat-template: {name} carries the template it was trained with ({FILE_NAME})")
    if not template and not chat_source and not carries_one and not is_scalar(path):
        raise UsageError(f"--checkpoint {name}: no {FILE_NAME} in it; give --template FILE or --chat-template FILE")


def is_scalar(directory: Path) -> bool:
    """Whether it holds a scalar reward model of another maker: one label, and no head of ours."""
    config = _config(directory)
    labels = config.get("id2label")
    count = len(labels) if isinstance(labels, dict) else config.get("num_labels", 2)
    return count == 1 and "wildreward" not in config


def _config(directory: Path) -> dict[str, Any]:
    try:
        values = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{directory}/{CONFIG}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{directory}/{CONFIG}: found {type(values).__name__}; expected an object")
    return values


def local_directory(name: str) -> Path:
    """The directory, or what was fetched to this machine of a URL or hub id. Raises CheckpointError."""
    if is_directory_name(name):
        return Path(local_copy(name))
    from huggingface_hub import snapshot_download

    with _hub_errors(name):
        return Path(snapshot_download(name, allow_patterns=[f"*{suffix}" for suffix in sorted(SUFFIXES - {".bin"})]))


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise CheckpointError(f"--checkpoint {name}: no directory, and not to be had from the hub: {error}") from error


def copy_checkpoint(source: Path, target: str, adjust: Callable[[Path], None] | None = None) -> None:
    """Copy a directory: complete under another name first, changed there by `adjust`, then renamed or uploaded."""
    final = Path(storage.plain(target)) if storage.is_local(target) else None
    if final:
        final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final and final.parent, prefix=".publish-") as temporary:
        copied = Path(shutil.copytree(source, Path(temporary) / "copy"))
        if adjust:
            adjust(copied)
        if final:
            shutil.rmtree(final, ignore_errors=True)
            copied.rename(final)
            return
        for path in sorted(path for path in copied.rglob("*") if path.is_file()):
            storage.write_bytes(storage.join(target, str(path.relative_to(copied))), path.read_bytes())


def fingerprint(name: str, template: str | None = None, chat_source: str | None = None) -> str:
    """32 hex digits over the checkpoint's files and the template given with it; of a hub id over its commit, of a URL
    over sizes and ETags.

    Of a directory every byte is read: a run that trains only the head leaves most of the weights as they were.
    """
    digest = hashlib.blake2b(digest_size=16)
    for line in _lines(name):
        digest.update(line.encode())
    if template:
        digest.update(template.encode() if template == CHAT else storage.read_text(template).encode())
    if chat_source:
        digest.update(b"jinja\n" + chat_source.encode())
    return digest.hexdigest()


def _lines(name: str) -> list[str]:
    if not is_directory_name(name):
        return [f"{name}@{_hub_commit(name)}"]
    if is_url(name):
        return [f"{file} {mark}\n" for file, mark in marks_of(name).items()]
    files = sorted(path for path in Path(name).iterdir() if path.suffix in SUFFIXES)
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        return [f"{path.name} {digest}\n" for path, digest in zip(files, pool.map(_digest, files), strict=True)]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error


def _hub_commit(name: str) -> str:
    """The commit of config.json, fetched if it is not in the local cache: snapshots/COMMIT/config.json."""
    from huggingface_hub import hf_hub_download

    with _hub_errors(name):
        return Path(hf_hub_download(name, CONFIG)).parent.name
