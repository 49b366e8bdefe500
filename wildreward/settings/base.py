"""Settings of a stage: one frozen pydantic model, read from a preset, a YAML file and the command line, in this order.

Every field is documented by the string literal under it, is a `--flag` of the same name, and may stand in a YAML file.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wildreward.errors import UsageError

WRITTEN_PATH_FIELDS = {"output", "score_cache", "judge_cache"}
"""Fields with a local path that may not be there yet; `none` means no path."""

PATH_FIELDS = WRITTEN_PATH_FIELDS | {
    "input", "eval_input", "checkpoint", "policy", "backbone", "template", "token_file", "baseline", "results",
    "judge_tokenizer", "judge_model", "embedder", "export_template", "chat_template", "eval_checkpoint",
    "eval_template",
}  # fmt: skip
"""Fields that may hold a local path."""

NOT_PATHS = {"minilm", "chat"}
"""Names that settings of these fields know."""

ALWAYS_FREE = frozenset({"output", "address", "overwrite", "log_format"})
"""Settings of every stage that change nothing of what it makes."""


class Settings(BaseModel):
    """Base of every component's settings: frozen, unknown keys refused, documented fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """Validate `values`. Raises UsageError naming each field, what was found and what is allowed."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise UsageError("\n".join(_explain(cls, item, where) for item in error.errors())) from None

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class StageSettings(Settings):
    """The settings every stage has, under the same words everywhere."""

    output: str = ""
    """Directory for everything the run writes (local, s3://, gs://, any fsspec URL)."""

    address: str | None = None
    """Which Ray cluster: auto, local, HOST:PORT, ray://HOST:PORT. Default: RAY_ADDRESS if set, else a local one."""

    seed: int = Field(default=0, ge=0)
    """Seed of everything random in the run."""

    overwrite: bool = False
    """Delete what an earlier run with other settings left in --output, instead of refusing."""

    log_format: Literal["text", "json"] = "text"
    """json: every line on the driver and in its workers is an object with time, stage and run id."""

    PLACEMENT: ClassVar[frozenset[str]] = frozenset()
    """Settings of where and how, without which the stage makes the same; those of every stage: ALWAYS_FREE."""

    def with_absolute_paths(self) -> Self:
        """Relative local paths as the user's directory means them: Ray's workers may stand in another one.

        Raises UsageError for a relative output in a Ray job: its directory is a copy that Ray deletes.
        """
        if self.output and "://" not in self.output and not os.path.isabs(self.output) and _in_ray_job():
            raise UsageError(
                f"--output {self.output}: is relative, and this is the temporary working directory of a Ray job; "
                "give a URL, or an absolute path that all nodes share"
            )
        update: dict[str, Any] = {}
        for name in PATH_FIELDS & set(type(self).model_fields):
            value = getattr(self, name)
            if isinstance(value, tuple):
                update[name] = tuple(map(_absolute, value))
            elif value and "Literal" not in str(type(self).model_fields[name].annotation):
                update[name] = _made_absolute(name, value)
        return self.model_copy(update=update)


def _in_ray_job() -> bool:
    return "working_dir_files" in Path.cwd().parts


def _made_absolute(name: str, value: str) -> str:
    is_written = name in WRITTEN_PATH_FIELDS and "://" not in value and value != "none"
    return os.path.abspath(value) if is_written else _absolute(value)


def _absolute(path: str) -> str:
    """Hub ids, URLs and names such as "minilm" are no paths here, and stay as they are."""
    is_path = os.path.exists(path) or any(sign in path for sign in "*?[")
    return os.path.abspath(path) if is_path and "://" not in path and path not in NOT_PATHS else path


def _explain(cls: type[Settings], item: Any, where: str) -> str:
    name = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, cls.model_fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known fields: {', '.join(sorted(cls.model_fields))}"
        return f"{where}: unknown field {name}; {hint}"
    if item["type"] == "missing":
        return f"{where}: {name} is required (--{name.replace('_', '-')})"
    message = item["msg"].removeprefix("Value error, ")
    # A validator over several fields has no single value: printing the whole model would bury the message.
    found = f"found {item['input']!r}; " if item["loc"] else ""
    return f"{where}: {name}: {found}{message}"


def read_yaml(path: Path, flag: str = "--config") -> dict[str, Any]:
    """The mapping in a YAML file. Raises UsageError for a file that is missing, unreadable or not a mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{flag} {path}: {error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{flag} {path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{flag} {path}: expected `field: value` lines, found {type(values).__name__}")
    return values


def find_config(name: str, preset_dirs: Sequence[Path], flag: str = "--config") -> Path:
    """The YAML file meant by --config (or another flag): a path, or the name of a shipped preset."""
    if Path(name).is_file():
        return Path(name)
    presets = {path.stem: path for folder in preset_dirs for path in sorted(folder.glob("*.yaml"))}
    if name in presets:
        return presets[name]
    shipped = ", ".join(sorted(presets)) or "none"
    raise UsageError(f"{flag} {name}: no such file, and no such preset (shipped presets: {shipped})")
