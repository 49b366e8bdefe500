"""Progress of a sweep on the driver: a live table of trials on a terminal, a line an event in a log.

Ray Tune pickles its callbacks, and a terminal cannot be: the board stays in this module.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from ray import tune

from tune import records
from tune.records import TrialRecord
from wildreward.settings.train import SELECT_MODES

_boards: list["Board"] = []

NUMBERS = {"step", "evaluation", *SELECT_MODES}
"""What is kept of an evaluation."""


class Board:
    """All trials as they are. `output` is where their records are written."""

    def __init__(
        self, output: str, plan: Mapping[str, Mapping[str, Any]], metric: str, mode: str, stream: TextIO | None = None
    ) -> None:
        self.output, self.metric, self.mode = output, metric, mode
        self.trials = {name: records.read(output, name, varied) for name, varied in plan.items()}
        self._stream = stream or sys.stderr
        self._live: Any = None

    def __enter__(self) -> "Board":
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self.table(), console=Console(file=self._stream), refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.update(self.table())
            self._live.stop()

    def started(self, name: str) -> None:
        record = self.trials[name]
        again = f", goes on after step {record.step}" if record.step else ""
        record.state, record.error = "running", None
        self._event(f"{name} started{again}: {settings_text(record)}")

    def evaluated(self, name: str, result: Mapping[str, Any]) -> None:
        record = self.trials[name]
        kept = {key: value for key, value in result.items() if isinstance(value, int | float | None) and key in NUMBERS}
        record.evaluations[int(result["step"])] = kept
        if record.total_steps is None:
            record.total_steps = records.read(self.output, name, record.settings).total_steps
        records.write_evaluations(self.output, record)
        self._event(f"{name} step {result['step']}: {self.metric} {shown(result.get(self.metric))}")

    def ended(self, name: str) -> None:
        """A trial that ends before its last step, without having written that it finished, was stopped by ASHA."""
        record = self.trials[name]
        written = records.read(self.output, name, record.settings)
        record.state, record.total_steps = written.state, written.total_steps
        if record.state not in records.ENDED:
            record.state = "finished" if record.step == record.total_steps else "stopped"
            records.write_outcome(self.output, name, record.state)
        by = " by ASHA" if record.state == "stopped" else ""
        self._event(f"{name} {record.state}{by} at step {record.step}{self._of_all()}")

    def failed(self, name: str) -> None:
        """A trial has written why it failed, unless its process was killed."""
        record = self.trials[name]
        record.state = "failed"
        record.error = (
            records.read(self.output, name, record.settings).error or f"it ended without a word; see sweep/{name}"
        )
        records.write_outcome(self.output, name, "failed", record.error)
        self._event(f"{name} failed: {record.error}{self._of_all()}")

    def _of_all(self) -> str:
        done = sum(record.state in records.ENDED for record in self.trials.values())
        return f" ({done} of {len(self.trials)} trials done)"

    def _event(self, text: str) -> None:
        if self._live is not None:
            self._live.update(self.table())
        else:
            print(f"tune: {text}", file=self._stream, flush=True)

    def table(self) -> Any:
        """A `rich` table: trial, state, settings, step, metric of the best evaluation so far."""
        from rich.table import Table

        table = Table("trial", "state", "settings", "step", self.metric)
        for record in self.trials.values():
            best = record.best(self.metric, self.mode)
            steps = f"{record.step}/{record.total_steps}" if record.total_steps else str(record.step)
            value = shown(best[self.metric]) if best else ""
            table.add_row(record.name, record.state, settings_text(record), steps, value)
        return table


def settings_text(record: TrialRecord) -> str:
    return " ".join(f"{name}={shown(value)}" for name, value in record.settings.items())


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def watching(board: Board) -> Iterator["Watcher"]:
    """A callback for Ray Tune that tells the board, for the length of the block."""
    _boards.append(board)
    try:
        with board:
            yield Watcher()
    finally:
        _boards.remove(board)


class Watcher(tune.Callback):
    """Hands Ray Tune's events to the board."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for board in _boards:
            board.started(trial.config["name"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        for board in _boards:
            if "step" in result:
                board.evaluated(trial.config["name"], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for board in _boards:
            board.ended(trial.config["name"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for board in _boards:
            board.failed(trial.config["name"])
