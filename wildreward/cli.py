"""The front door: `wildreward COMMAND [--config NAME] [--field VALUE ...]`; the commands are those of STAGES.

Every stage is also a module of its own (`python -m train ...`), which calls the same `main`. Nothing heavy is imported
before the settings have been read and found right: `--help` answers in under half a second.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildreward import __version__
from wildreward.errors import UsageError, WildrewardError
from wildreward.logs import logged

if TYPE_CHECKING:
    from wildreward.settings.base import StageSettings

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Stage:
    """One command: where its settings, its code and its shipped presets are. `program` has `run(settings) -> None`."""

    name: str
    summary: str
    settings: str
    program: str
    presets: str
    positional: str | None = None
    """What arguments without a flag fill: a field, as in `wildreward agree A B`, or `config`, as in `run FILE`."""

    @property
    def preset_dir(self) -> Path:
        return ROOT / self.presets

    def settings_class(self) -> "type[StageSettings]":
        return _attribute(self.settings)

    def run(self) -> "Callable[[Any], None]":
        return _attribute(f"{self.program}:run")


STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "label",
            "turn conversations into WildFB rows: judge the users' follow-ups, refine, filter, split",
            "wildreward.settings.label:LabelSettings",
            "pipelines.label",
            "pipelines/presets/label",
        ),
        Stage(
            "agree",
            "compare two labelled outputs, or one with people's levels: wildreward agree A B",
            "wildreward.settings.agree:AgreeSettings",
            "wildreward.agree",
            "wildreward/presets/agree",
            positional="input",
        ),
        Stage(
            "train",
            "train an ordinal reward model on WildFB rows",
            "wildreward.settings.train:TrainSettings",
            "train.program",
            "train/presets",
        ),
        Stage(
            "calibrate",
            "fit temperature and cutpoints of a reward model on rows of your own",
            "wildreward.settings.calibrate:CalibrateSettings",
            "pipelines.calibrate",
            "pipelines/presets/calibrate",
        ),
        Stage(
            "evaluate",
            "measure a reward model on benchmarks, test splits, preference pairs and rated replies",
            "wildreward.settings.evaluate:EvaluateSettings",
            "pipelines.evaluate",
            "pipelines/presets/evaluate",
        ),
        Stage(
            "compare",
            "put evaluations side by side, with paired differences and their significance",
            "wildreward.settings.compare:CompareSettings",
            "pipelines.compare",
            "pipelines/presets/compare",
            positional="results",
        ),
        Stage(
            "score",
            "score a parquet or JSONL file of conversations in batch",
            "wildreward.settings.score:ScoreSettings",
            "pipelines.score",
            "pipelines/presets/score",
        ),
        Stage(
            "serve",
            "run the scorer as a Ray Serve application with an HTTP endpoint",
            "wildreward.settings.serve:ServeSettings",
            "serve.program",
            "serve/presets",
        ),
        Stage(
            "dpo",
            "improve a policy with the reward model: online DPO in process",
            "wildreward.settings.dpo:DpoSettings",
            "rl.program",
            "rl/presets",
        ),
        Stage(
            "tune",
            "sweep training settings over Ray Tune and name the best trial",
            "wildreward.settings.tune:TuneSettings",
            "tune.program",
            "tune/presets",
        ),
        Stage(
            "run",
            "label, train, evaluate, then serve or dpo, as one resumable run: wildreward run FILE",
            "wildreward.settings.run:RunSettings",
            "wildreward.workflow.program",
            "wildreward/presets/run",
            positional="config",
        ),
        Stage(
            "demo",
            "the main job end to end on generated conversations, on one local cluster",
            "wildreward.settings.demo:DemoSettings",
            "wildreward.demo",
            "wildreward/presets/demo",
        ),
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failure, 2 usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(_overview())
        return 0 if argv else 2
    if argv[0] in {"-V", "--version"}:
        print(f"wildreward {__version__}")
        return 0
    with _ending() as end:
        stage = _stage(argv[0])
        settings = read_settings(stage, argv[1:])
        with logged(stage.name, settings.log_format), _ending() as inner:
            run_settings(stage, settings)
        end.code = inner.code
    return end.code


class _End:
    code = 0


@contextmanager
def _ending() -> Iterator[_End]:
    """Says a failure on stderr, and keeps its exit code."""
    end = _End()
    try:
        yield end
    except WildrewardError as error:
        print(f"wildreward: error: {error}", file=sys.stderr)
        end.code = error.exit_code
    except KeyboardInterrupt:
        print("wildreward: interrupted; the same command continues where it stopped", file=sys.stderr)
        end.code = 130


def _stage(name: str) -> Stage:
    if name not in STAGES:
        raise UsageError(f"unknown command {name!r}; commands are {', '.join(STAGES)}")
    return STAGES[name]


def run_stage(name: str, argv: Sequence[str]) -> None:
    """Parse the settings of one stage and run it in this process. Raises WildrewardError."""
    stage = _stage(name)
    settings = read_settings(stage, argv)
    with logged(name, settings.log_format):
        run_settings(stage, settings)


def run_settings(stage: Stage, settings: "StageSettings") -> None:
    """Run a stage in this process, once its paths are found good. Raises WildrewardError."""
    from wildreward.storage_checks import check_places

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not getattr(settings, "dry_run", False):
        check_places(settings)
    stage.run()(settings)


def read_settings(stage: Stage, argv: Sequence[str]) -> "StageSettings":
    """Preset or YAML file first, command line on top, then validation. Raises UsageError."""
    from wildreward.settings.base import find_config, read_yaml

    cls = stage.settings_class()
    given = vars(_parser(stage, cls).parse_args(list(argv)))
    config = given.pop("config", None)
    values: dict[str, Any] = {}
    where = stage.name
    if config is not None:
        path = find_config(config, [stage.preset_dir])
        values = read_yaml(path)
        where = f"{stage.name} ({path.name} and flags)"
    return cls.parse(values | given, where).with_absolute_paths()


def _parser(stage: Stage, cls: "type[StageSettings]") -> argparse.ArgumentParser:
    """One flag per field. Values are parsed as YAML, so that `--betas '[0.9, 0.95]'` and `--limit null` work."""
    parser = _Parser(
        prog=f"wildreward {stage.name}",
        usage=f"wildreward {stage.name}{_arguments(stage)} [--field VALUE ...]",
        description=stage.summary[0].upper() + stage.summary[1:] + ".",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=120),
    )
    names = ", ".join(path.stem for path in sorted(stage.preset_dir.glob("*.yaml"))) or "none"
    text = f"a shipped preset ({names}) or a YAML file; flags override it"
    if stage.positional == "config":
        parser.add_argument("config", metavar="NAME|FILE", help=text)
    else:
        parser.add_argument("--config", metavar="NAME|FILE", help=text)
    for name, field in cls.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        text = " ".join((field.description or "").split()).replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=f"{text} (default: {field.default})")
            continue
        if name == stage.positional:
            parser.add_argument(name, nargs="*", type=_reader(field.annotation), metavar=name.upper(), help=text)
            continue
        many = str(field.annotation).startswith(("tuple[", "list["))
        default = (
            "" if field.is_required() or field.default in (None, "", ()) else f" (default: {_shown(field.default)})"
        )
        parser.add_argument(
            flag,
            type=_reader(field.annotation),
            nargs="+" if many else None,
            metavar=_metavar(field.annotation),
            help=text + default,
        )
    return parser


def _arguments(stage: Stage) -> str:
    if stage.positional == "config":
        return " NAME|FILE"
    return (f" {stage.positional.upper()} ..." if stage.positional else "") + " [--config NAME|FILE]"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message} (see {self.prog} --help)")


def _reader(annotation: Any) -> "Callable[[str], Any]":
    """How a flag's text is read: text fields as they stand (`null` is none), the rest as YAML, for pydantic to check.

    >>> _reader(str | None)("null"), _reader(tuple[str, ...])("2024"), _reader(float)("1e-3"), _reader(dict)("{a: 1}")
    (None, '2024', 0.001, {'a': 1})
    """
    import yaml

    def read_text(text: str) -> str | None:
        return None if text == "null" else text

    def read_value(text: str) -> Any:
        if re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", text):
            return float(text)  # YAML 1.1 takes 1e-3 for a text
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text

    return read_text if re.search(r"\bstr\b", str(annotation)) and "dict" not in str(annotation) else read_value


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _metavar(annotation: Any) -> str:
    text = str(annotation)
    if literal := re.search(r"Literal\[([^]]*)\]", text):
        return "|".join(part.strip(" '\"") for part in literal[1].split(","))
    for word, metavar in (("int", "N"), ("float", "X"), ("dict", "YAML")):
        if word in text:
            return metavar
    return "TEXT"


def _overview() -> str:
    width = max(map(len, STAGES))
    lines = [f"  {stage.name:<{width}}  {stage.summary}" for stage in STAGES.values()]
    return "\n".join(
        [
            "usage: wildreward COMMAND [--config NAME|FILE] [--field VALUE ...]",
            "",
            "Reward models from the feedback users give in their next message, on one Ray cluster.",
            "",
            *lines,
            "",
            "wildreward COMMAND --help lists the settings of a command. Exit codes: 0 done, 1 failure, 2 usage.",
        ]
    )


def _attribute(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    raise SystemExit(main())
