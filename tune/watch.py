"""Progress of a sweep on the driver. Tune pickles its callbacks, a terminal cannot be: the bar stays in this module."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from wildreward.progress import Progress

_shown: list[Progress] = []


@contextmanager
def watching(trials: int) -> Iterator["Watcher"]:
    """A callback for Tune whose progress shows for the length of the block."""
    with Progress("trials", total=trials) as progress:
        _shown.append(progress)
        try:
            yield Watcher()
        finally:
            _shown.remove(progress)


class Watcher(tune.Callback):
    """Counts finished trials."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        done = 1 + sum(other.is_finished() and other is not trial for other in trials)
        for progress in _shown:
            progress.advance(done - progress.done, last=trial.trial_id)
