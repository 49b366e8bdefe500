"""Settings of tune refuse, by the field's name, a space that cannot be searched or whose trials do not compare."""

from pathlib import Path
from typing import Any

import pytest

from wildreward.errors import UsageError
from wildreward.settings.base import read_yaml
from wildreward.settings.tune import SPACES, TuneSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"space": {}}, r"space: found .* a sweep needs at least one field to vary"),
        ({"space": {"learning_rate": [1]}}, r"learning_rate is not a setting a sweep can vary; allowed are attention"),
        ({"space": {"output": ["a"]}}, r"output is not a setting a sweep can vary"),
        (
            {"space": {"workers": [1, 2]}},
            r"workers: it decides what a trial reserves, the same for all: set it in base",
        ),
        ({"space": {"seed": [0, 1]}}, r"seed: it chooses the validation rows"),
        ({"space": {"num_classes": [2, 4]}}, r"num_classes: .* to vary what a class is, vary class_map"),
        (
            {"space": {"lr": {"uniform": [0, 1], "when": {"heads": "x"}}}},
            r"lr: when: found heads, which is not a setting",
        ),
        ({"space": {"head": ["coral", "corn"]}, "metric": "loss"}, r"metric: loss is another quantity .* of head"),
        ({"space": {"head": ["coral", "corn"]}, "num_samples": 2}, r"num_samples: found 2; the space draws nothing"),
        ({"space": "no-such-space"}, r"--space no-such-space: no such file, and no such preset \(.*full, heads"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TuneSettings.parse(values)


def test_a_space_is_a_yaml_of_its_own_and_the_settings_hold_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("lr: {loguniform: [1.0e-5, 1.0e-3]}\nhead: [corn]\n")
    assert TuneSettings.parse({"space": str(path)}).space == {"lr": {"loguniform": [1e-5, 1e-3]}, "head": ["corn"]}


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_space_is_valid(path: Path) -> None:
    assert TuneSettings.parse({"space": path.stem}).space == read_yaml(path)
