"""Weights & Biases and MLflow, for those who ask (`--track`). Both are configured by their own environment variables
(WANDB_MODE, WANDB_API_KEY, WANDB_ENTITY; MLFLOW_TRACKING_URI).

The ids of the runs lie in <output>/trackers.json, so that a run that continues goes on in the same one.
"""

import importlib.util
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from wildreward import storage
from wildreward.errors import UsageError
from wildreward.sinks import Sink, numbers

RUNS = "trackers.json"
KINDS = ("train", "validation", "eval")
"""Kinds of records, each with a step of its own."""


class Tracked(Protocol):
    """The settings of a stage whose runs are tracked."""

    @property
    def track(self) -> Sequence[str]: ...
    @property
    def track_project(self) -> str: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


def check(names: Sequence[str]) -> None:
    """Raises UsageError for a tracker that is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"--track {name}: it is not installed; pip install 'wildreward[{name}]'")


def open_all(settings: Tracked, output: str) -> list[Sink]:
    """A run at each tracker, new or continued. Raises UsageError for one that cannot be used."""
    path = storage.join(output, RUNS)
    runs: dict[str, str] = json.loads(storage.read_text(path)) if storage.exists(path) else {}
    makers: dict[str, Callable[[Tracked, str, str | None], Wandb | Mlflow]] = {"wandb": Wandb, "mlflow": Mlflow}
    opened: list[Sink] = []
    for name in settings.track:
        tracker = makers[name](settings, output, runs.get(name))
        runs[name] = tracker.run_id
        opened.append(tracker)
        storage.write_text(path, json.dumps(runs))
    return opened


def _title(output: str) -> str:
    return output.rstrip("/").rsplit("/", 1)[-1]


class Wandb:
    """A run at Weights & Biases. It sends by itself and retries; offline it lies in <output>/wandb."""

    def __init__(self, settings: Tracked, output: str, run_id: str | None) -> None:
        import wandb

        self.run_id = run_id or secrets.token_hex(4)
        directory = storage.plain(output) if storage.is_local(output) else None
        if directory:
            os.makedirs(directory, exist_ok=True)  # wandb would write elsewhere
        try:
            self._run = wandb.init(
                project=settings.track_project,
                id=self.run_id,
                name=_title(output),
                resume="allow",
                config=settings.model_dump(mode="json"),
                dir=directory,
                settings=wandb.Settings(silent=True, console="off"),
                reinit="create_new",
            )
        except (wandb.Error, OSError) as error:
            raise UsageError(f"--track wandb: {error}") from error
        # Its own step counter refuses to go back, which a run that continues may have to.
        for kind in KINDS:
            self._run.define_metric(f"{kind}/step")
            self._run.define_metric(f"{kind}/*", step_metric=f"{kind}/step")

    def write(self, record: Mapping[str, Any]) -> None:
        self._run.log({f"{record['kind']}/step": record["step"], **numbers(record)})

    def flush(self) -> None:
        """wandb hands what is logged to a process of its own at once."""

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


class Mlflow:
    """A run at an MLflow server, or in its database."""

    def __init__(self, settings: Tracked, output: str, run_id: str | None) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        try:
            self._client = MlflowClient()
            if run_id is None:
                run = self._client.create_run(self._experiment(settings.track_project), run_name=_title(output))
                run_id = str(run.info.run_id)
                params = [Param(key, str(value)) for key, value in settings.model_dump(mode="json").items()]
                self._client.log_batch(run_id, params=params)
            else:
                self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            raise UsageError(f"--track mlflow: {error}") from error
        self.run_id: str = run_id
        self._lost = 0

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def write(self, record: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now_ms = int(time.time() * 1000)
        metrics = [Metric(name, value, now_ms, record["step"]) for name, value in numbers(record).items()]
        try:
            self._client.log_batch(self.run_id, metrics=metrics)
        except MlflowException as error:  # after MLflow's own retries; the training is worth more than its log
            self._lost += 1
            print(f"mlflow: step {record['step']} could not be logged ({self._lost} in all): {error}", flush=True)

    def flush(self) -> None:
        """Every call is answered when the server has it."""

    def close(self, finished: bool) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_terminated(self.run_id, "FINISHED" if finished else "FAILED")
        except MlflowException as error:
            print(f"mlflow: run {self.run_id} could not be closed: {error}", flush=True)
