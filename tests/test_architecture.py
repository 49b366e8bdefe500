"""The rules of the layout that a machine can check: which way imports point, what stays light, what presets hold."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wildreward.cli import ROOT, STAGES, Stage
from wildreward.settings.base import read_yaml
from wildreward.settings.tune import SPACES

STAGE_PACKAGES = {"pipelines", "train", "serve", "rl", "tune"}
MAY_ALSO_IMPORT = {"rl": {"serve"}, "tune": {"train"}, "pipelines": {"serve"}}
"""rl uses a handle that serve publishes, tune calls train, and pipelines score through serve's published clients."""


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("package", ["wildreward", *sorted(STAGE_PACKAGES)])
def test_imports_point_from_the_stages_to_the_method(package: str) -> None:
    allowed = {package} | MAY_ALSO_IMPORT.get(package, set())
    for path in sorted((ROOT / package).rglob("*.py")):
        wrong = {name for name in imported_modules(path) if name.split(".")[0] in STAGE_PACKAGES - allowed}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_settings_import_nothing_heavy(stage: Stage) -> None:
    code = f"import sys, wildreward.cli as c; c.STAGES['{stage.name}'].settings_class(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "transformers", "vllm", "deepspeed", "pyarrow"} & set(done.stdout.split())


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_shipped_preset_is_valid(stage: Stage) -> None:
    presets = sorted(stage.preset_dir.glob("*.yaml"))
    assert presets or stage.name in {"agree", "calibrate", "evaluate", "compare", "score", "demo"}, (
        f"{stage.name} ships no preset"
    )
    fields = stage.settings_class().model_fields
    # Presets leave the run's own paths to the command line; any text stands for them here.
    paths = {name: "x" for name, field in fields.items() if field.is_required()}
    for path in presets:
        stage.settings_class().parse(paths | read_yaml(path), path.name)


PARSED_ELSEWHERE = {
    ROOT / ".pre-commit-config.yaml",
    ROOT / "serve" / "deploy.yaml",
    *(ROOT / name for name in ("cluster.yaml", "pipelines/rayjob.yaml", "serve/rayservice.yaml")),
}
"""By pre-commit, by tests/serve/test_app.py and by tests/test_cluster_files.py."""


def test_every_yaml_in_the_tree_is_a_preset_a_search_space_a_deployment_or_the_generators_material() -> None:
    presets = {path for stage in STAGES.values() for path in stage.preset_dir.glob("*.yaml")}
    presets |= set(SPACES.glob("*.yaml"))
    tracked = subprocess.run(["git", "ls-files", "*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    others = {ROOT / name for name in tracked.split()} - presets - PARSED_ELSEWHERE
    for path in others:
        assert path.parent == ROOT / "wildreward" / "synthetic" / "material"
        assert read_yaml(path)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_answers_in_half_a_second(arguments: list[str]) -> None:
    """Processor time: a promise about our imports, not about what else the machine is doing."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "wildreward", *arguments], capture_output=True, check=True)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5
