"""What a run writes as it goes: metrics.jsonl, samples.jsonl, TensorBoard, Ray metrics, trackers, a console table."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rl.lines import Lines
from rl.ray_metrics import RayMetrics
from wildreward import storage, trackers
from wildreward.live_table import Column, LiveTable
from wildreward.settings.dpo import DpoSettings
from wildreward.sinks import Sink

COLUMNS = (
    Column("step", "progress", "{}", 9),
    Column("reward", "reward/mean", "{:.3f}"),
    Column("chosen", "reward/chosen", "{:.3f}"),
    Column("reject", "reward/rejected", "{:.3f}"),
    Column("loss", "loss", "{:.4f}"),
    Column("acc", "implicit/accuracy", "{:.2f}", 5),
    Column("kl", "kl", "{:.2f}", 6),
    Column("entropy", "entropy", "{:.2f}"),
    Column("tokens", "completion/tokens", "{:.0f}", 6),
    Column("cut", "completion/cut_off_frac", "{:.0%}", 5),
    Column("pairs", "pairs", "{:d}", 5),
    Column("ties", "skipped/tie", "{:d}", 4),
    Column("stale", "staleness", "{:d}", 5),
    Column("write s", "seconds/rollout", "{:.1f}"),
    Column("score s", "seconds/scorer", "{:.1f}"),
    Column("learn s", "seconds/learner", "{:.1f}"),
    Column("step s", "seconds/step", "{:.1f}"),
)
EVALUATION = "eval/"


class Recorder:
    """Lines of steps after `step` are dropped first: a resumed run writes them again. Trackers get no step twice."""

    def __init__(self, settings: DpoSettings, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        output = settings.output
        self._lines = Lines(storage.join(output, "metrics.jsonl"), step)
        self._samples = Lines(storage.join(output, "samples.jsonl"), step)
        self._steps, self._table, self._finished = settings.steps, LiveTable(COLUMNS), False
        self._board = storage.join(output, "tensorboard")
        self._made = None if storage.is_local(output) else tempfile.TemporaryDirectory(prefix="wildreward-board-")
        place = self._made.name if self._made else storage.plain(self._board)
        self._events = SummaryWriter(place, purge_step=step + 1)
        self._ray = RayMetrics(output)
        self._trackers: list[Sink] = trackers.open_all(settings, output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.close()
        self._events.close()
        self.flush(now=True)
        for lines in (self._lines, self._samples):
            lines.close()
        for tracker in self._trackers:
            tracker.close(finished=kind is None)
        if self._made:
            self._made.cleanup()

    def step(self, step: int, values: Mapping[str, Any], distributions: Mapping[str, Sequence[float]]) -> None:
        """A step's measures; of what is in `distributions` TensorBoard gets a histogram."""
        self._write(step, "train", values)
        for name, found in distributions.items():
            if found:
                import numpy as np

                self._events.add_histogram(name, np.asarray(found), step)
        self._ray.step({**values, "step": step})
        self._table.row({**values, "progress": f"{step}/{self._steps}"})
        self.flush()

    def evaluation(self, step: int, values: Mapping[str, Any], said: str) -> None:
        self._write(step, "eval", values)
        self._ray.evaluation(values)
        print(said, flush=True)
        self.flush()

    def _write(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        self._lines.append({"step": step, **values})
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        if step <= self._lines.last_step:
            return
        record = {"kind": kind, "step": step} | {name.removeprefix(EVALUATION): v for name, v in values.items()}
        for tracker in self._trackers:
            tracker.write(record)

    def sample(self, step: int, values: Mapping[str, Any]) -> None:
        self._samples.append({"step": step, **values})

    def flush(self, now: bool = False) -> None:
        """What was written is seen from outside. `now`: in an object store too, before a checkpoint is complete."""
        self._events.flush()
        for lines in (self._lines, self._samples):
            lines.flush(now)
        if self._made and now and any(Path(self._made.name).iterdir()):
            storage.copy_directory(self._made.name, self._board)
