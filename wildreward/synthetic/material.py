"""The written material of the generator: YAML files in `material/`, read once a process."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "material"
LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}


@cache
def load(name: str) -> Any:
    """One file of material by its stem."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), Loader=loader)


def rows(lang: str) -> Any:
    """Facts and tasks: a list of rows under each kind."""
    return load("zh_material") if lang == "zh" else {**load("en_knowledge"), **load("en_tasks")}


def families(lang: str) -> Any:
    return load(f"{lang}_families")


def follow_ups(lang: str) -> Any:
    return load(f"{lang}_follow_ups")


def replies(lang: str) -> Any:
    return load(f"{lang}_replies")
