"""A sweep runs to its end, names the best trial, gives settings that train runs, and survives what stops it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tune.program import run
from tune.records import TrialRecord
from wildreward.cli import STAGES, main, read_settings
from wildreward.errors import UsageError
from wildreward.settings.train import TrainSettings
from wildreward.settings.tune import TuneSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPACE: dict[str, Any] = {
    "head": ["coral", "corn"],
    "cutpoint_freedom": ["fixed"],
    "lr": {"grid": [3e-3, 1e30], "when": {"head": "corn"}},
}
"""Two good trials, and one whose loss is no number after its first steps."""


def tune_settings(tiny_settings: dict[str, Any], output: Path, **values: Any) -> TuneSettings:
    base = {**tiny_settings, "max_steps": 4, "evaluate_every_steps": 2, "worker_failures": 0}
    made = {"input": base.pop("input"), "output": str(output), "base": base, "space": SPACE, "address": "local"}
    return TuneSettings.parse(made | values)


@pytest.fixture(scope="module")
def swept(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> TuneSettings:
    # ASHA that would stop at the third evaluation, of two.
    asha = {"asha": True, "asha_grace_evaluations": 3}
    settings = tune_settings(tiny_settings, tmp_path_factory.mktemp("sweep") / "out", **asha)
    run(settings)
    return settings


def rows_of(settings: TuneSettings) -> list[dict[str, Any]]:
    return list(pq.read_table(f"{settings.output}/results.parquet").to_pylist())


def test_every_combination_is_a_row_the_best_first_and_the_failed_last(swept: TuneSettings) -> None:
    rows = rows_of(swept)
    assert {(row["head"], row["cutpoint_freedom"], row["lr"], row["state"]) for row in rows} == {
        ("coral", "fixed", None, "finished"),
        ("corn", None, 3e-3, "finished"),
        ("corn", None, 1e30, "failed"),
    }
    assert rows[0]["good_bad_auc"] >= rows[1]["good_bad_auc"]
    assert rows[2]["error"].startswith("the loss at step 2 is nan")


def test_train_runs_the_best_settings_and_finds_what_the_trial_found(swept: TuneSettings, tmp_path: Path) -> None:
    best = rows_of(swept)[0]
    arguments = ["--config", f"{swept.output}/best.yaml", "--output", f"{tmp_path}/train"]
    settings = read_settings(STAGES["train"], arguments)
    assert isinstance(settings, TrainSettings)
    assert (settings.head, settings.select_by, settings.input) == (best["head"], "good_bad_auc", swept.input)
    assert main(["train", *arguments]) == 0
    done = json.loads((tmp_path / "train" / "done.json").read_text())
    assert done["best_step"] == best["step"]
    assert done["validation"]["good_bad_auc"] == pytest.approx(best["good_bad_auc"], abs=1e-6)


def test_a_finished_sweep_shows_its_table_again_and_does_nothing(
    swept: TuneSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    run(swept)
    said = capsys.readouterr().out
    assert "done already" in said
    assert "trial t002 failed: the loss at step 2 is nan" in said
    assert not list(Path(swept.output).glob("trials/t00[01]/run"))
    assert "the loss at step 2 is nan" in (Path(swept.output) / "report.html").read_text()
    assert (Path(swept.output) / "parallel_coordinates.png").read_bytes().startswith(b"\x89PNG")


def test_a_space_with_a_value_out_of_range_is_refused_before_anything_starts(swept: TuneSettings) -> None:
    with pytest.raises(UsageError, match=r"space lr.*lr: found -1"):
        run(swept.model_copy(update={"space": {"lr": [1e-3, -1]}, "output": f"{swept.output}-other"}))
    assert not Path(f"{swept.output}-other").exists()


def test_a_sweep_of_which_every_trial_failed_says_why_and_fails(
    tiny_settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tune_settings(tiny_settings, tmp_path / "out")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    failed = [
        TrialRecord("t000", {"head": "coral"}, "failed", "DataError: row 3"),
        TrialRecord("t001", {}, "failed", "x"),
    ]
    monkeypatch.setattr("tune.program.sweep", lambda *arguments: failed)
    assert main(["tune", "--config", str(tmp_path / "settings.yaml")]) == 1
    said = capsys.readouterr()
    assert "trial t000 failed: DataError: row 3" in said.out
    assert "no trial came through; the first says: DataError: row 3" in said.err
    assert not (tmp_path / "out" / "done.json").exists()


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not what() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()


def test_a_sweep_stopped_by_hand_and_killed_ends_with_the_table_of_an_undisturbed_one(
    swept: TuneSettings, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    good = SPACE | {"lr": {"grid": [3e-3], "when": {"head": "corn"}}}  # without the trial that fails
    settings = tune_settings(tiny_settings, tmp_path / "out", max_concurrent_trials=1, space=good)
    config, trials = tmp_path / "settings.yaml", tmp_path / "out" / "trials"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = [sys.executable, "-m", "tune", "--config", str(config)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    by_hand = start()
    wait_for((trials / "t000" / "evaluations.json").exists, by_hand)
    by_hand.send_signal(signal.SIGINT)
    said = by_hand.communicate()[0]
    assert by_hand.returncode == 130, said
    assert "the same command continues" in said
    killed = start()
    wait_for((trials / "t001" / "evaluations.json").exists, killed)
    killed.kill()
    killed.communicate()
    finished = (trials / "t000" / "metrics.jsonl").stat().st_mtime_ns
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"t001 started, goes on after step [24]:", again.stderr), "it may have been faster than the signal"
    assert (trials / "t000" / "metrics.jsonl").stat().st_mtime_ns == finished
    assert rows_of(settings) == rows_of(swept)[:2]
