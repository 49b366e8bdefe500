"""The run as it goes, on the driver: progress, metrics.jsonl and TensorBoard events.

Rank 0 hands its records to a small actor; a thread of the driver takes them from there. A run that continues rewrites
the file from the history in its checkpoint, so that no step is there twice.
"""

import json
import threading
from typing import Any

from wildreward import storage
from wildreward.progress import Progress

POLL_S = 0.5
SHOWN = ("loss", "lr", "tokens_per_s", "padding_frac")


class Journal:
    """Holds records until the driver takes them. Made an actor by `journal_actor`."""

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
    import ray

    return ray.remote(num_cpus=0)(Journal).remote()


class Scribe:
    """Writes what the journal holds, from a thread, for as long as the block lasts.

    with Scribe(journal, output):
        trainer.fit()
    """

    def __init__(self, journal: Any, output: str, total_steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._journal, self._path = journal, storage.join(output, "metrics.jsonl")
        self._progress = Progress("training", total=total_steps)
        self._events = SummaryWriter(storage.join(output, "tensorboard"))
        self._lines: list[dict[str, Any]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Scribe":
        self._progress.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end.set()
        self._thread.join()
        self._events.close()
        self._progress.__exit__(*error)

    def _follow(self) -> None:
        while not self._end.wait(POLL_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        import ray

        records = ray.get(self._journal.take.remote())
        for record in records:
            self._take(record)
        if any(record["kind"] != "tick" for record in records):
            try:
                storage.write_text(self._path, "".join(json.dumps(line) + "\n" for line in self._lines))
            except OSError as error:  # the lines are kept, and written with the next ones
                print(f"train: {self._path}: {error}", flush=True)

    def _take(self, record: dict[str, Any]) -> None:
        shown = SHOWN if record["kind"] == "train" else ()
        self._progress.advance(record["step"] - self._progress.done, **{name: record[name] for name in shown})
        if record["kind"] == "start":
            self._lines = []
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
        for key, value in record.items():
            if isinstance(value, float):
                self._events.add_scalar(f"{record['kind']}/{key}", value, record["step"])
