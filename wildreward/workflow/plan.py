"""What a run would do: each stage's settings on the outputs of the earlier ones, and the key of what it makes.

A stage writes to OUTPUT/NAME-KEY, and its key is a hash of its settings, of the files it reads from outside the run,
and of the keys of the stages it reads from. So other settings or inputs make another folder, never overwrite one, and
going back to earlier ones finds them done.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wildreward import storage
from wildreward.cli import STAGES
from wildreward.errors import UsageError
from wildreward.origin import origin_of
from wildreward.settings.base import ALWAYS_FREE, PATH_FIELDS, WRITTEN_PATH_FIELDS, find_config, read_yaml
from wildreward.settings.run import ORDER, RunSettings

if TYPE_CHECKING:
    from wildreward.settings.base import StageSettings

WIRED: Mapping[str, Mapping[str, Any]] = {
    "train": {"input": ["${label}"]},
    "evaluate": {"checkpoint": "${train}/checkpoint", "input": ["${label}"]},
    "serve": {"checkpoint": "${train}/checkpoint"},
    "dpo": {"checkpoint": "${train}/checkpoint", "input": ["${label}"]},
}
"""What a stage reads unless its settings say otherwise."""

SHARED = {"label": {"judge_cache": "judge_cache"}, "evaluate": {"score_cache": "score_cache"}}
"""Caches that all outputs of a run share: other settings ask and score only what is new."""

_REFERENCE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Step:
    """One stage of the run. `inputs` maps each file read from outside the run to its size and time or ETag."""

    name: str
    key: str
    output: str
    settings: "StageSettings"
    inputs: dict[str, str]


def plan(run: RunSettings) -> list[Step]:
    """The stages in order. Raises UsageError naming the stage and the field."""
    run.required()
    steps: list[Step] = []
    for name in ORDER:
        if name in run.stages:
            steps.append(_step(run, name, {step.name: step for step in steps}))
    return steps


def _step(run: RunSettings, name: str, earlier: Mapping[str, Step]) -> Step:
    folders = {other: step.output for other, step in earlier.items()}
    values = {field: _filled(value, name, field, folders) for field, value in _values(run, name, folders).items()}
    given = STAGES[name].settings_class()
    draft = given.parse(values | {"output": storage.join(run.output, name)}, f"stages.{name}").with_absolute_paths()
    inputs = _outside(draft, tuple(folder + "/" for folder in folders.values()))
    key = _key(name, draft, inputs, run.output)
    output = storage.join(run.output, f"{name}-{key}")
    return Step(name, key, output, draft.model_copy(update={"output": output}), inputs)


def _values(run: RunSettings, name: str, folders: Mapping[str, str]) -> dict[str, Any]:
    """Preset, then what the file says, on what the run wires: all but `output`."""
    given = dict(run.stages[name])
    config = given.pop("config", None)
    preset = {} if config is None else read_yaml(find_config(str(config), [STAGES[name].preset_dir]))
    said = preset | given
    scorer_given = any(said.get(other) for other in ("url", "handle", "callable"))
    wired = {
        field: value
        for field, value in WIRED.get(name, {}).items()
        if not said.get(field) and not (field == "checkpoint" and scorer_given)
    }
    for field, value in wired.items():
        _check_wired(name, field, value, folders)
    if name == "label" and run.input and not said.get("input"):
        wired["input"] = list(run.input)
    caches = {field: storage.join(run.output, folder) for field, folder in SHARED.get(name, {}).items()}
    fixed = {"address": run.address, "seed": said.get("seed", run.seed), "log_format": run.log_format}
    return caches | said | wired | fixed | ({"detach": True} if name == "serve" else {})


def _check_wired(name: str, field: str, value: Any, folders: Mapping[str, str]) -> None:
    source = _REFERENCE.findall(str(value))[0]
    if source not in folders:
        raise UsageError(f"stages.{name}: {field} is required, as this run has no stage {source} to take it from")


def _filled(value: Any, name: str, field: str, folders: Mapping[str, str]) -> Any:
    """`${stage}` replaced by that stage's output, in texts and lists of them."""
    if isinstance(value, list | tuple):
        return [_filled(item, name, field, folders) for item in value]
    if not isinstance(value, str):
        return value

    def folder(match: re.Match[str]) -> str:
        if match[1] not in folders:
            allowed = ", ".join(f"${{{other}}}" for other in folders) or "none, as no stage runs before it"
            raise UsageError(f"stages.{name}.{field}: found {match[0]}; allowed are {allowed}")
        return folders[match[1]]

    return _REFERENCE.sub(folder, value)


def _outside(settings: "StageSettings", made: tuple[str, ...]) -> dict[str, str]:
    """The files that these settings read and no stage of this run makes."""
    found: dict[str, str] = {}
    for field in sorted((PATH_FIELDS - WRITTEN_PATH_FIELDS) & set(type(settings).model_fields)):
        value = getattr(settings, field)
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, str) and path and not f"{path}/".startswith(made):
                found |= _marks(path)
    return found


def _marks(path: str) -> dict[str, str]:
    """Of every file under a path or glob; none for what is no file (a hub id, a benchmark's name)."""
    if storage.is_local(path) and not path.startswith("/"):
        return {}
    try:
        return origin_of(storage.find(path, ("",)))
    except storage.unreachable() as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def _key(name: str, settings: "StageSettings", inputs: Mapping[str, str], run_output: str) -> str:
    """12 hex digits. Paths inside the run count without its directory, so that a run may be moved."""
    left_out = ALWAYS_FREE | settings.PLACEMENT | SHARED.get(name, {}).keys()
    values = {field: value for field, value in settings.model_dump(mode="json").items() if field not in left_out}
    text = json.dumps([name, values, sorted(inputs.items())], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.replace(run_output + "/", "").encode()).hexdigest()[:12]
