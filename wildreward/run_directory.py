"""The output directory of a long run: new, to be continued, or done. One place for what the same command twice means.

The settings a run began with lie in its settings.yaml; a run that is done has a done.json.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Literal

import yaml

from wildreward import storage
from wildreward.errors import UsageError
from wildreward.logs import run_id
from wildreward.settings.base import ALWAYS_FREE, StageSettings

SETTINGS, DONE = "settings.yaml", "done.json"


def open_run(
    settings: StageSettings, owned: Sequence[str], free: Collection[str] = ()
) -> Literal["new", "resume", "done"]:
    """State of `settings.output`; writes its settings.yaml when the run is new.

    `owned` are the files and folders the stage writes there, which --overwrite deletes; `free` are the settings that
    may change between a run and its continuation, besides its placement. Raises UsageError naming those that differ.
    """
    earlier = _earlier(settings)
    if earlier is not None and settings.overwrite:
        for name in (DONE, *owned, SETTINGS):
            storage.remove(storage.join(settings.output, name))
        earlier = None
    if earlier is None:
        storage.write_text(storage.join(settings.output, SETTINGS), settings.to_yaml())
        return "new"
    differing = _differing(earlier, settings, ALWAYS_FREE | settings.PLACEMENT | set(free))
    if differing:
        raise UsageError(
            f"--output {settings.output}: an earlier run there had other settings: {'; '.join(differing)}. "
            "Give its settings to continue it, another --output, or --overwrite to delete it"
        )
    return "done" if storage.exists(storage.join(settings.output, DONE)) else "resume"


def finish(output: str, facts: dict[str, Any]) -> None:
    """Mark the run done; `facts` say what came of it, and in which run it ended."""
    told = facts | {"run_id": run_id()}
    storage.write_text(storage.join(output, DONE), json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def facts(output: str) -> dict[str, Any]:
    """What `finish` was told."""
    found: dict[str, Any] = json.loads(storage.read_text(storage.join(output, DONE)))
    return found


def _earlier(settings: StageSettings) -> dict[str, Any] | None:
    path = storage.join(settings.output, SETTINGS)
    if not storage.exists(path):
        return None
    values = yaml.safe_load(storage.read_text(path))
    if not isinstance(values, dict):
        raise UsageError(f"{path}: not the settings of a run; use another --output, or --overwrite")
    return values


def _differing(earlier: dict[str, Any], settings: StageSettings, free: Collection[str]) -> list[str]:
    """`name: then -> now` of each setting that differs; one the earlier version did not know has its default."""
    defaults = {name: field.default for name, field in type(settings).model_fields.items()}
    now = yaml.safe_load(settings.to_yaml())
    then = {**_plain(defaults), **earlier}
    return [
        f"{name}: {then.get(name)} -> {value}"
        for name, value in now.items()
        if name not in free and then[name] != value
    ]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
