"""Progress of long work: a live bar on a terminal, one plain line every few seconds in a log.

with Progress("training", total=steps) as progress:
    progress.advance(1, loss=0.31)
"""

import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

PLAIN_INTERVAL_S = 10.0


class Progress:
    """A counter that shows itself. `total=None` when the end is not known; extra fields are shown after the count."""

    def __init__(self, what: str, total: int | None = None, stream: TextIO | None = None) -> None:
        self.what, self.total, self.done = what, total, 0
        self._stream = stream or sys.stderr
        self._started = self._shown = time.monotonic()
        self._bar: Any = None
        self._fields: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._bar = _live_bar(self._stream)
            self._task = self._bar.add_task(self.what, total=self.total, fields="")
            self._bar.start()
        else:
            self._line("started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._line("done" if kind is None else "stopped")

    def advance(self, count: int = 1, **fields: Any) -> None:
        """Count `count` more; `fields` (name=value) replace what is shown beside the bar."""
        self.done += count
        self._fields |= fields
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, fields=_pairs(self._fields))
        elif time.monotonic() - self._shown >= PLAIN_INTERVAL_S:
            self._line("running")

    def say(self, text: str) -> None:
        """A line of its own, above a live bar."""
        line = f"{self.what}: {text}"
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=self._stream, flush=True)

    def _line(self, state: str) -> None:
        self._shown = time.monotonic()
        of = "" if self.total is None else f"/{self.total}"
        seconds = self._shown - self._started
        print(f"{self.what}: {state} {self.done}{of} {seconds:.0f}s {_pairs(self._fields)}".rstrip(), file=self._stream)
        self._stream.flush()


def _pairs(fields: dict[str, Any]) -> str:
    shown = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in fields.items()}
    return " ".join(f"{key}={value}" for key, value in shown.items())


def _live_bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return RichProgress(*columns, TextColumn("{task.fields[fields]}"), console=Console(file=stream))
