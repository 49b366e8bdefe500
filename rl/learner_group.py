"""The learner as the driver sees it: N workers that act as one, and end as one.

Every call goes to all workers, because they meet in collectives. When one fails or dies the others would wait for it
there: so they are killed at once, and the run ends with an error instead of hanging.
"""

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from rl.failures import translated
from rl.learner import Learner
from wildreward.errors import WildrewardError
from wildreward.settings.dpo import DpoSettings

GRACE_S = 3.0
"""How long, after one worker's error, the others' are waited for: the peer that died explains a broken connection."""


class LearnerGroup:
    """`rl.learner.Learner` on `settings.learner_workers` actors, each with `options` as Ray's resources."""

    def __init__(self, settings: DpoSettings, options: dict[str, Any]) -> None:
        worker: Any = ray.remote(**options)(Learner)
        self.workers: list[Any] = [worker.remote(settings) for _ in range(settings.learner_workers)]

    def start(self) -> None:
        """Returns when every worker has its part of the policy."""
        world = len(self.workers)
        address = self._first([self.workers[0].open.remote(world)])
        self._first([worker.start.remote(rank, world, address) for rank, worker in enumerate(self.workers)])

    def call(self, method: str, *args: Any) -> Any:
        """What rank 0 gives back. Raises WildrewardError, with every worker ended, when one failed."""
        shared = [ray.put(argument) for argument in args]
        return self._first([getattr(worker, method).remote(*shared) for worker in self.workers])

    def kill(self) -> None:
        for worker in self.workers:
            ray.kill(worker)

    def _first(self, refs: Sequence[Any]) -> Any:
        waiting = list(refs)
        while waiting:
            done, waiting = ray.wait(waiting)
            if error := _error(done[0]):
                raise self._end(error, waiting) from error
        return ray.get(refs[0])

    def _end(self, first: RayError, waiting: Sequence[Any]) -> WildrewardError:
        """Kill everyone; the error that says most: a death explains the broken connections of the others."""
        done = ray.wait(list(waiting), num_returns=len(waiting), timeout=GRACE_S)[0] if waiting else []
        errors = [first, *(error for ref in done if (error := _error(ref)))]
        self.kill()
        deaths = [error for error in errors if isinstance(error, RayActorError)]
        return translated((deaths or errors)[0])


def _error(ref: Any) -> RayError | None:
    try:
        ray.get(ref)
    except RayError as error:
        return error
    return None
