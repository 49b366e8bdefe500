"""The paths of a stage, looked at before work begins: can the output be written to, and is there room where that can
be known. That inputs are there each stage says itself; that other nodes see local paths: shared_paths.py.
"""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildreward import storage
from wildreward.errors import UsageError, WildrewardError
from wildreward.fetched import described, is_url, weight_bytes
from wildreward.minilm import model_directory
from wildreward.run_directory import DONE
from wildreward.settings.base import NOT_PATHS, PATH_FIELDS, WRITTEN_PATH_FIELDS, StageSettings

STATE_BYTES_PER_WEIGHT = 12
"""Of one checkpoint of a training run: the float32 weight and AdamW's two moments."""


@dataclass(frozen=True)
class Place:
    """A path that a setting names, and whether the stage writes there."""

    field: str
    path: str
    written: bool

    @property
    def flag(self) -> str:
        return f"--{self.field.replace('_', '-')} {self.path}"


def places(settings: StageSettings) -> Iterator[Place]:
    """Every path and URL of the settings; names that are none (hub ids, benchmarks, "minilm") are left out."""
    for field in sorted(PATH_FIELDS & set(type(settings).model_fields)):
        value = getattr(settings, field)
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, str) and path not in NOT_PATHS | {"", "none"} and ("://" in path or path[0] == "/"):
                yield Place(field, path, field in WRITTEN_PATH_FIELDS)


def check_places(settings: StageSettings) -> None:
    """Raises UsageError naming the setting, for a place that cannot be written to or has too little room."""
    for place in places(settings):
        if place.written and not place.path.startswith("hf://"):  # there every write is a commit
            check_writable(place)
    output = settings.output
    if output and storage.is_local(output) and not storage.exists(storage.join(output, DONE)):
        check_room(settings)


def check_writable(place: Place) -> None:
    """By writing: on an object store under a name of its own, on a disk in the nearest directory that is there."""
    try:
        if storage.is_local(place.path):
            nearest = nearest_directory(place.path)
            with tempfile.TemporaryFile(dir=nearest):
                return
        probe = storage.join(place.path, f".wildreward-probe-{uuid.uuid4().hex}")
        storage.write_bytes(probe, b"")
        storage.remove(probe)
    except storage.unreachable() as error:
        raise UsageError(f"{place.flag}: cannot be written to: {error}") from error


def nearest_directory(path: str) -> Path:
    """The directory itself, or the closest above it that is there. Raises NotADirectoryError."""
    wanted = Path(os.path.abspath(storage.plain(path)))
    nearest = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{nearest} is a file")
    return nearest


def check_room(settings: StageSettings) -> None:
    """Raises UsageError where the disk of --output has less room than the run takes at the very least."""
    needed = room_needed(settings)
    free = shutil.disk_usage(nearest_directory(settings.output)).free
    if needed is not None and free < needed[0]:
        raise UsageError(
            f"--output {settings.output}: {free / 1e9:.2f} GB are free there, and this run takes at least "
            f"{needed[0] / 1e9:.2f} GB ({needed[1]})"
        )


def room_needed(settings: Any) -> tuple[int, str] | None:
    """(fewest bytes, why) of a stage's output; None where that is not known beforehand."""
    model = getattr(settings, "policy", None) or getattr(settings, "backbone", None)
    if not model or bool(getattr(settings, "lora_rank", False)):
        return None
    weights = weights_of(model)
    if weights is None:
        return None
    size = STATE_BYTES_PER_WEIGHT * weights
    return size, f"one checkpoint of {weights / 1e6:,.0f}M weights with its optimiser"


def weights_of(model: str) -> int | None:
    """How many a model has, by its files; None for one on the hub, which is not asked, and where nothing says it."""
    try:
        name = model_directory(model) if model in NOT_PATHS else model
        if not is_url(name) and not Path(name).is_dir():
            return None
        size = weight_bytes(name)
        config = json.loads((described(name) / "config.json").read_text(encoding="utf-8"))
        kind = config.get("dtype") or config.get("torch_dtype") or "float32"
    except (WildrewardError, OSError, ValueError):  # the stage itself says what is wrong with it
        return None
    return size // (2 if kind in {"bfloat16", "float16"} else 4)
