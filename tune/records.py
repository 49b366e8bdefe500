"""What is known of each trial, on the run's storage: enough to go on after kill -9 of the driver, and for the table.

OUTPUT/trials/NAME/trial.json         the settings that vary, the steps planned, Ray Tune's id of the trial
OUTPUT/trials/NAME/evaluations.json   its evaluations as Ray Tune was told of them
OUTPUT/trials/NAME/outcome.json       how it ended: finished, stopped (by ASHA), failed (with the error)
OUTPUT/trials/NAME/metrics.jsonl      the log of its Ray Train run; a run that continues writes it again in full
OUTPUT/trials/NAME/run/               its Ray Train checkpoints, while it runs
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wildreward import storage

State = Literal["waiting", "running", "finished", "stopped", "failed"]
ENDED = ("finished", "stopped", "failed")

_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b.*: ")
_WRAPPERS = ("RayTaskError", "TrainingFailedError", "WorkerGroupError", "WildrewardError", "RayActorError")


@dataclass
class TrialRecord:
    """One trial. `evaluations` by step."""

    name: str
    settings: Mapping[str, Any]
    state: State = "waiting"
    error: str | None = None
    total_steps: int | None = None
    tune_id: str | None = None
    evaluations: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def step(self) -> int:
        return max(self.evaluations, default=0)

    def best(self, metric: str, mode: str) -> dict[str, Any] | None:
        """The best evaluation, of equal ones the last, as `train` keeps it; None where none has a value."""
        known = [found for found in self.evaluations.values() if is_known(found.get(metric))]
        sign = -1 if mode == "min" else 1
        return max(known, key=lambda found: (sign * float(found[metric]), found["step"]), default=None)


def is_known(value: float | None) -> bool:
    """Whether a metric is defined: of one class only, or of equal scores, some are not."""
    return value is not None and not math.isnan(value)


def names(count: int) -> list[str]:
    """Of the trials in the order of the search space.

    >>> names(2)
    ['t000', 't001']
    """
    return [f"t{place:03d}" for place in range(count)]


def folder(output: str, name: str) -> str:
    return storage.join(output, "trials", name)


def run_path(output: str, name: str) -> str:
    return storage.join(folder(output, name), "run")


def read(output: str, name: str, settings: Mapping[str, Any]) -> TrialRecord:
    """What an earlier process left of this trial."""
    started, outcome = _json(output, name, "trial.json"), _json(output, name, "outcome.json")
    logged = storage.join(folder(output, name), "metrics.jsonl")
    lines = storage.read_text(logged).splitlines() if storage.exists(logged) else []
    found = [line for line in map(json.loads, lines) if line["kind"] == "validation"]
    told = _json(output, name, "evaluations.json") or []
    return TrialRecord(
        name=name,
        settings=settings,
        state=outcome["state"] if outcome else "running" if started else "waiting",
        error=outcome["error"] if outcome else None,
        total_steps=started["total_steps"] if started else None,
        tune_id=started["tune_id"] if started else None,
        evaluations={int(line["step"]): line for line in [*found, *told]},
    )


def write_start(output: str, name: str, settings: Mapping[str, Any], total_steps: int, tune_id: str) -> None:
    _write(output, name, "trial.json", {"settings": settings, "total_steps": total_steps, "tune_id": tune_id})


def write_evaluations(output: str, record: TrialRecord) -> None:
    _write(output, record.name, "evaluations.json", list(record.evaluations.values()))


def write_outcome(output: str, name: str, state: State, error: str | None = None) -> None:
    """How it ended. The checkpoints of a trial that need not go on are deleted."""
    _write(output, name, "outcome.json", {"state": state, "error": error})
    if state != "failed":
        storage.remove(run_path(output, name))


def forget_outcome(output: str, name: str) -> None:
    """A failed trial is tried again."""
    storage.remove(storage.join(folder(output, name), "outcome.json"))


def cause(error: str) -> str:
    """Of a trace that Ray passed on from a worker, the exception that began it; else its last line.

    >>> cause("Training failed due to worker errors:\\nTraceback\\nFloatingPointError: nan\\n\\ntraining failed")
    'FloatingPointError: nan'
    >>> cause("disk full\\n")
    'disk full'
    """
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    named = [line for line in lines if _EXCEPTION.match(line) and not any(name in line for name in _WRAPPERS)]
    return named[0] if named else lines[-1] if lines else "no message"


def _json(output: str, name: str, file: str) -> Any:
    path = storage.join(folder(output, name), file)
    return json.loads(storage.read_text(path)) if storage.exists(path) else None


def _write(output: str, name: str, file: str, values: Any) -> None:
    storage.write_text(storage.join(folder(output, name), file), json.dumps(values, ensure_ascii=False) + "\n")
