"""A sweep runs to its end, names the best trial, and gives settings that train takes."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tune.program import run
from wildreward.cli import STAGES, read_settings
from wildreward.errors import UsageError
from wildreward.settings.train import TrainSettings
from wildreward.settings.tune import TuneSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPACE: dict[str, list[Any]] = {"head": ["corn", "independent"], "threshold_weights": ["balanced", [1.0, 2.0, 1.0]]}


@pytest.fixture(scope="module")
def swept(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> TuneSettings:
    base = {**tiny_settings, "max_steps": 4, "evaluate_every_steps": 2}
    settings = TuneSettings(
        input=base.pop("input"),
        output=str(tmp_path_factory.mktemp("sweep") / "out"),
        base=base,
        space=SPACE,
        metric="spearman",
        max_concurrent_trials=2,
    )
    run(settings)
    return settings


def test_every_combination_is_a_row_and_the_best_comes_first(swept: TuneSettings) -> None:
    rows = pq.read_table(f"{swept.output}/results.parquet").to_pylist()
    found = {(row["head"], row["threshold_weights"]) for row in rows}
    assert found == {(head, json.dumps(weights)) for head in SPACE["head"] for weights in SPACE["threshold_weights"]}
    assert all(row["error"] is None for row in rows)
    assert [row["spearman"] for row in rows] == sorted((row["spearman"] for row in rows), reverse=True)


def test_the_best_settings_are_a_config_of_train(swept: TuneSettings) -> None:
    done = json.loads((Path(swept.output) / "done.json").read_text())
    best = next(row for row in done["trials"] if row["trial"] == done["best"])
    settings = read_settings(STAGES["train"], ["--config", f"{swept.output}/best.yaml", "--output", "elsewhere"])
    assert isinstance(settings, TrainSettings)
    assert settings.head == best["head"]
    assert settings.select_by == "spearman"
    assert settings.input == swept.input


def test_a_finished_sweep_says_so_and_does_nothing(swept: TuneSettings, capsys: pytest.CaptureFixture[str]) -> None:
    run(swept)
    assert "done already" in capsys.readouterr().out


def test_a_space_with_a_value_out_of_range_is_refused_before_anything_starts(swept: TuneSettings) -> None:
    with pytest.raises(UsageError, match=r"space lr.*lr: found -1"):
        run(swept.model_copy(update={"space": {"lr": [1e-3, -1]}, "output": f"{swept.output}-other"}))
    assert not Path(f"{swept.output}-other").exists()
