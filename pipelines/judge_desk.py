"""One Ray actor a run that all its judge actors share: it leases starts within the run's limits, and carries what they
have to say (an endpoint that is out, a judge that does not answer, counters) to the driver.

Judges ask for all starts that wait at once, one call at a time, so that the desk is no bottleneck whatever the rate.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import ray

from wildreward.judge.news import News
from wildreward.judge.rate_limit import RunLimits
from wildreward.settings.label import LabelSettings

LOOK_EVERY_S = 1.0

MAX_WARNINGS = 100
"""Different ones; more are not kept."""


class JudgeDesk:
    """Its name is what the Ray dashboard shows."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._limits = RunLimits(requests_per_minute, tokens_per_minute)
        self._waiting: dict[str, str] = {}
        self._warnings: Counter[str] = Counter()
        self._stats: dict[str, Mapping[str, float]] = {}

    def lease(self, tokens: list[int], correction: int) -> list[float]:
        """See `RunLimits.lease`."""
        return self._limits.lease(tokens, correction, time.monotonic())

    def warn(self, message: str) -> None:
        if message in self._warnings or len(self._warnings) < MAX_WARNINGS:
            self._warnings[message] += 1

    def waiting(self, judge: str, message: str | None) -> None:
        if message is None:
            self._waiting.pop(judge, None)
        else:
            self._waiting[judge] = message

    def report(self, judge: str, stats: Mapping[str, float]) -> None:
        self._stats[judge] = stats

    def news(self) -> News:
        total: Counter[str] = Counter()
        for stats in self._stats.values():
            total.update(stats)
        return News(next(iter(self._waiting.values()), None), dict(self._warnings), dict(total))


def open_desk(settings: LabelSettings) -> Any:
    """The desk of a run, as an actor; it goes when the last handle does. Where its node is lost it starts anew."""
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(JudgeDesk)
    return actor.remote(settings.judge_requests_per_minute, settings.judge_tokens_per_minute)


class DeskWatch:
    """The driver's look at the desk: says what is new, at most once a second."""

    def __init__(self, desk: Any, say: Callable[[str], None]) -> None:
        self._desk, self._say = desk, say
        self._asked: Any = None
        self._next_look = 0.0
        self._said: set[str] = set()
        self._was_waiting: str | None = None

    def look(self) -> None:
        """Never waits: what was asked at one look is read at a later one."""
        if self._asked is not None:
            ready, _ = ray.wait([self._asked], timeout=0)
            if ready:
                self.tell(ray.get(self._asked))
                self._asked = None
        elif time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY_S
            self._asked = self._desk.news.remote()

    def tell(self, news: News) -> None:
        """Say what was not said yet."""
        for message in news.warnings:
            if message not in self._said:
                self._said.add(message)
                self._say(f"warning: {message}")
        if news.waiting != self._was_waiting:
            self._say(news.waiting or "the judge answers again")
            self._was_waiting = news.waiting


class AtDesk:
    """`wildreward.judge.shared.Shared` of one judge actor, by calls to the desk."""

    def __init__(self, desk: Any) -> None:
        self._desk, self._judge = desk, uuid.uuid4().hex  # made anew in each actor: see __reduce__
        self._queue: list[tuple[int, asyncio.Future[float]]] = []
        self._correction = 0
        self._leasing: asyncio.Task[None] | None = None

    def __reduce__(self) -> Any:
        return AtDesk, (self._desk,)

    async def permit(self, tokens: int) -> None:
        start: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._queue.append((tokens, start))
        if self._leasing is None or self._leasing.done():
            self._leasing = asyncio.create_task(self._lease())
        await asyncio.sleep(await start)

    def correct(self, tokens: int) -> None:
        self._correction += tokens

    def warn(self, message: str) -> None:
        self._desk.warn.remote(message)

    def waiting(self, message: str | None) -> None:
        self._desk.waiting.remote(self._judge, message)

    def report(self, stats: Mapping[str, float]) -> None:
        self._desk.report.remote(self._judge, dict(stats))

    async def _lease(self) -> None:
        """Lease for all who wait, until nobody does. The rest asks again when the last start granted is due."""
        while self._queue:
            asked = [tokens for tokens, _ in self._queue]
            correction, self._correction = self._correction, 0
            try:
                delays = await self._desk.lease.remote(asked, correction)
            except ray.exceptions.RayError as error:
                for _, start in self._queue:
                    if not start.done():
                        start.set_exception(error)
                self._queue.clear()
                return
            granted, self._queue = self._queue[: len(delays)], self._queue[len(delays) :]
            for (_, start), delay in zip(granted, delays, strict=True):
                if not start.done():  # its asker may be gone
                    start.set_result(delay)
            if len(delays) < len(asked):
                await asyncio.sleep(delays[-1])
