"""The run as it goes, on the driver: progress, metrics.jsonl, and the sinks (sinks.py, wildreward/trackers.py).

Rank 0 hands its records to a small actor; a thread of the driver takes them from there. A run that continues rewrites
the file from the history in its checkpoint, so that no step is there twice; what the file had before went to the sinks
before, and being repeated exactly is not sent again.
"""

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from wildreward import storage
from wildreward.progress import Progress
from wildreward.sinks import Sink

POLL_S = 0.5
WRITING_FRAC = 0.05
"""Most of the time that goes into metrics.jsonl, which is written whole: far storage is written to less often."""
SHOWN = ("loss", "lr", "grad_norm", "tokens_per_s", "padding_frac", "mfu")


class TrainJournal:
    """Holds records until the driver takes them. Its name is what the Ray dashboard shows."""

    def __init__(self) -> None:
        self._records: list[dict[str, Any]] = []
        self._refusal: str | None = None

    def refuse(self, reason: str) -> None:
        """A worker cannot go on, and could not if it were started again."""
        self._refusal = self._refusal or reason

    def refusal(self) -> str | None:
        return self._refusal

    def add(self, record: dict[str, Any]) -> None:
        self._records.append(record)

    def take(self) -> list[dict[str, Any]]:
        records, self._records = self._records, []
        return records


def journal_actor() -> Any:
    """On the driver's node, so that it is lost with the driver alone."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Not soft: Ray takes any node for an actor without CPUs, whatever node it would rather have.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(TrainJournal).options(scheduling_strategy=here).remote()


class Scribe:
    """Writes what the journal holds, from a thread, for as long as the block lasts.

    with Scribe(journal, output, total_steps, sinks):
        trainer.fit()
    """

    def __init__(self, journal: Any, output: str, total_steps: int, sinks: Sequence[Sink]) -> None:
        self._journal, self._path, self._sinks = journal, storage.join(output, "metrics.jsonl"), sinks
        self._progress = Progress("training", total=total_steps)
        self._lines: list[dict[str, Any]] = []
        self._sent = _last_steps(self._path)
        self._unwritten, self._next_write = False, 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Scribe":
        self._progress.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end.set()
        self._thread.join()
        self._progress.__exit__(*error)

    def _follow(self) -> None:
        while not self._end.wait(POLL_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        import ray

        for record in ray.get(self._journal.take.remote()):
            self._take(record)
        for sink in self._sinks:
            sink.flush()
        began = time.monotonic()
        if self._unwritten and (began >= self._next_write or self._end.is_set()):
            try:
                storage.write_text(self._path, "".join(json.dumps(line) + "\n" for line in self._lines))
                self._unwritten = False
            except OSError as error:  # the lines are kept, and written with the next ones
                print(f"train: {self._path}: {error}", flush=True)
            self._next_write = began + (time.monotonic() - began) / WRITING_FRAC

    def _take(self, record: dict[str, Any]) -> None:
        shown = {name: record[name] for name in SHOWN if record.get(name) is not None}
        self._progress.advance(record["step"] - self._progress.done, **(shown if record["kind"] == "train" else {}))
        if record["kind"] == "start":
            self._lines, self._unwritten = [], True
            if record["step"]:
                print(f"training: continues after step {record['step']} of {record['total_steps']}", flush=True)
            for line in record["history"]:
                self._write(line)
        elif record["kind"] == "note":
            print(f"train: {record['text']}", flush=True)
        elif record["kind"] != "tick":
            self._write(record)

    def _write(self, record: dict[str, Any]) -> None:
        self._lines.append(record)
        self._unwritten = True
        if record["step"] <= self._sent.get(record["kind"], 0):
            return
        self._sent[record["kind"]] = record["step"]
        for sink in self._sinks:
            sink.write(record)


def _last_steps(path: str) -> dict[str, int]:
    """The last step of each kind of record in a file of an earlier process."""
    if not storage.exists(path):
        return {}
    last: dict[str, int] = {}
    for line in storage.read_text(path).splitlines():
        record = json.loads(line)
        last[record["kind"]] = max(last.get(record["kind"], 0), record["step"])
    return last
