"""Where the records of a run go beside metrics.jsonl: TensorBoard events and Ray's Prometheus endpoint.

Names of the series, tags and units are here alone. Ray serves each with `ray_` before its name and, for counters,
`_total` after it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from wildreward import storage, trackers
from wildreward.logs import RUN_TAG, of_run
from wildreward.settings.train import TrainSettings
from wildreward.sinks import Sink, numbers

PREFIX = "wildreward_train"
GAUGES = {
    "loss": "Mean loss of the rows since the last log line",
    "lr": "Learning rate of the last step",
    "grad_norm": "Norm of the last step's gradient before it is clipped",
    "tokens_per_s": "Tokens read per second, without padding",
    "padding_frac": "Share of the tokens of the forward passes that is padding",
    "mfu": "Share of the devices' peak FLOPs, where it is known",
    "step": "Optimiser steps done",
}


class TensorBoard:
    """Events in <output>/tensorboard."""

    def __init__(self, output: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._events, self._unwritten = SummaryWriter(storage.join(output, "tensorboard")), False

    def write(self, record: Mapping[str, Any]) -> None:
        self._unwritten = True
        for name, value in numbers(record).items():
            self._events.add_scalar(name, value, record["step"])

    def flush(self) -> None:
        if self._unwritten:
            self._events.flush()
            self._unwritten = False

    def close(self, finished: bool) -> None:
        self._events.close()


class RayMetrics:
    """Gauges and a counter of this run, tagged with its output directory; a sweep's trials have one each.

    Ray forgets a gauge that is not set for some seconds, and a step may take longer: so each flush sets them again.
    """

    def __init__(self, output: str) -> None:
        from ray.util.metrics import Counter, Gauge

        keys = ("run", RUN_TAG)
        self._gauges = {
            name: of_run(Gauge(f"{PREFIX}_{name}", meaning, tag_keys=keys)) for name, meaning in GAUGES.items()
        }
        said = "Last value of each validation metric"
        self._validation = of_run(Gauge(f"{PREFIX}_validation", said, tag_keys=(*keys, "metric")))
        said = "Tokens read since the run began, without padding"
        self._tokens = of_run(Counter(f"{PREFIX}_tokens", said, tag_keys=keys))
        self._run, self._seen = {"run": output}, 0
        self._last: dict[str, Mapping[str, Any]] = {"train": {}, "validation": {}}

    def write(self, record: Mapping[str, Any]) -> None:
        self._last[record["kind"]] = record
        if record["kind"] == "train":
            self._tokens.inc(record["tokens"] - self._seen, self._run)
            self._seen = record["tokens"]

    def flush(self) -> None:
        train, validation = self._last["train"], self._last["validation"]
        for name, gauge in self._gauges.items():
            if train.get(name) is not None:
                gauge.set(train[name], self._run)
        for name, value in numbers(validation).items() if validation else ():
            self._validation.set(value, self._run | {"metric": name.removeprefix("validation/")})

    def close(self, finished: bool) -> None:
        """Ray forgets the gauges by itself; the counter stays until this process ends."""


@contextlib.contextmanager
def sinks(settings: TrainSettings, output: str) -> Iterator[list[Sink]]:
    """All sinks that the settings ask for, closed at the end: as finished, unless the block raises."""
    opened: list[Sink] = [TensorBoard(output), RayMetrics(output), *trackers.open_all(settings, output)]
    finished = False
    try:
        yield opened
        finished = True
    finally:
        for sink in opened:
            sink.close(finished)
