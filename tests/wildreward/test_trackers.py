"""Records reach real Weights & Biases (offline) and MLflow (file store) runs, and one that continues goes on."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from train.journal import Scribe
from wildreward import trackers
from wildreward.errors import UsageError
from wildreward.settings.train import TrainSettings
from wildreward.sinks import Sink

RECORDS = [
    {"kind": "train", "step": 1, "loss": 0.75, "mfu": None},
    {"kind": "validation", "step": 1, "mae": 0.5},
    {"kind": "train", "step": 2, "loss": 0.25, "mfu": None},
]


def track(settings: TrainSettings, records: list[dict[str, Any]], finished: bool) -> str:
    """Log in a process that then ends; the run's id."""
    (tracker,) = trackers.open_all(settings, str(settings.output))
    for record in records:
        tracker.write(record)
    tracker.close(finished)
    runs: dict[str, str] = json.loads((Path(str(settings.output)) / trackers.RUNS).read_text())
    return runs[settings.track[0]]


def test_a_continued_run_goes_on_in_its_mlflow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlflow")
    settings = TrainSettings(output=f"{tmp_path}/out", track=("mlflow",), track_project="rewards", lr=0.5)
    run = track(settings, RECORDS[:2], finished=False)
    client = mlflow.MlflowClient()
    assert client.get_run(run).info.status == "FAILED"
    assert track(settings, RECORDS[2:], finished=True) == run
    found = client.get_run(run)
    assert (found.info.status, found.info.run_name, found.data.params["lr"]) == ("FINISHED", "out", "0.5")
    assert [(point.step, point.value) for point in client.get_metric_history(run, "train/loss")] == [
        (1, 0.75),
        (2, 0.25),
    ]
    assert found.data.metrics == {"train/loss": 0.25, "validation/mae": 0.5}
    experiment = client.get_experiment_by_name("rewards")
    assert experiment.experiment_id == found.info.experiment_id


def test_a_continued_run_goes_on_in_its_wandb_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = TrainSettings(output=f"{tmp_path}/out", track=("wandb",))
    run = track(settings, RECORDS[:2], finished=False)
    second = int(time.time())
    while int(time.time()) == second:  # wandb names the files of an offline run by the second: the two would be one
        time.sleep(0.01)
    assert track(settings, RECORDS[2:], finished=True) == run
    wandb.teardown()  # as where a process ends: its service writes what it was given last
    parts = sorted((tmp_path / "out" / "wandb").glob(f"offline-run-*-{run}/run-{run}.wandb"))
    assert parts
    logged = b"".join(part.read_bytes() for part in parts)
    assert all(name in logged for name in (b"train/loss", b"0.75", b"0.25", b"validation/mae"))


def test_a_tracker_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--track mlflow: it is not installed; pip install 'wildreward\[mlflow\]'"):
        trackers.check(["mlflow"])


def test_what_was_sent_before_a_kill_is_not_sent_again(tmp_path: Path) -> None:
    class Kept:
        def __init__(self) -> None:
            self.records: list[dict[str, Any]] = []

        def write(self, record: Any) -> None:
            self.records.append(record)

        def flush(self) -> None: ...

        def close(self, finished: bool) -> None: ...

    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    sink: Sink = Kept()
    scribe = Scribe(None, str(tmp_path), 4, [sink])
    start = {"kind": "start", "step": 1, "total_steps": 4, "history": RECORDS[:2]}
    after = {"kind": "train", "step": 3, "loss": 0.125, "mfu": None}
    for record in (start, RECORDS[2], after):
        scribe._take(record)
    assert isinstance(sink, Kept)
    assert sink.records == [after]
    assert scribe._lines == [*RECORDS, after]
