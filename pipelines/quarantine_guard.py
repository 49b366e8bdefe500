"""Stops `label` while it still reads, when too much of the input cannot be read: before the judge is paid for the rest.

The read tasks tell one small actor how far they are; it answers with an objection when there is one. Counts are kept by
share of the input and replaced as a whole, so that a task that is tried again counts once, and an actor that is started
again (its node was lost) merely knows less until the others report again. The last word has pass 2, which counts all.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import ray

from wildreward.errors import DataError
from wildreward.quarantine import Tally, objection, too_many
from wildreward.settings.label import LabelSettings

REPORT_ROWS = 256
"""Rows between two reports of one read task."""


def quarantine_guard(settings: LabelSettings) -> Any:
    """A handle of a new guard; it lives as long as the handle."""
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(QuarantineGuard)
    return actor.remote(settings)


class QuarantineGuard:
    """Its name is what the Ray dashboard shows."""

    def __init__(self, settings: LabelSettings) -> None:
        self._settings = settings
        self._shares: dict[int, Tally] = {}
        self._rows = self._bad = 0

    def report(self, share: int, tally: Tally) -> str | None:
        """Take in what a share holds so far; why the run must stop, or None."""
        before = self._shares.get(share, Tally())
        self._shares[share] = tally
        self._rows += tally.rows - before.rows
        self._bad += tally.bad - before.bad
        if not too_many(self._bad, self._rows, self._settings, early=True):
            return None
        total = Tally()
        for part in self._shares.values():
            total.merge(part)
        return objection(total, self._settings, early=True)


class Reporter:
    """What one read task has read so far, and the guard it tells (none: nobody is told)."""

    def __init__(self, guard: Any = None, share: int = 0) -> None:
        self._guard, self._share = guard, share
        self._tally, self._told = Tally(), 0

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count FEEDBACK rows. Raises DataError with the guard's objection."""
        for row in rows:
            self._tally.add(row)
        if self._tally.rows - self._told >= REPORT_ROWS:
            self.finish()

    def finish(self) -> None:
        """Tell the guard now. Raises DataError with its objection."""
        self._told = self._tally.rows
        if self._guard is None:
            return
        reason = ray.get(self._guard.report.remote(self._share, self._tally))
        if reason is not None:
            raise DataError(reason)
