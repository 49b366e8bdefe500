"""What the judge actors of one run share: its rate limits, and what they tell whoever watches the run.

`Alone` is for a judge in one process. The stage puts a Ray actor in its place (`pipelines.judge_desk`).
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from wildreward.judge.rate_limit import RunLimits
from wildreward.settings.label import LabelSettings

logger = logging.getLogger(__name__)


class Shared(Protocol):
    """Called from one judge's coroutines. Only `permit` waits."""

    async def permit(self, tokens: int) -> None:
        """Return when a request of about `tokens` may start."""
        ...

    def correct(self, tokens: int) -> None:
        """A request used this many tokens more than its estimate (below zero: fewer)."""
        ...

    def warn(self, message: str) -> None:
        """Something is wrong that does not stop the run: an endpoint that is out."""
        ...

    def waiting(self, message: str | None) -> None:
        """Nothing is being answered, and why; None when it is over."""
        ...

    def report(self, stats: Mapping[str, float]) -> None:
        """The judge's counters so far."""
        ...


class Alone:
    """`Shared` for a judge that has the run to itself: limits in this process, words to the log."""

    def __init__(self, settings: LabelSettings) -> None:
        self._limits = RunLimits(settings.judge_requests_per_minute, settings.judge_tokens_per_minute)
        self._correction = 0

    async def permit(self, tokens: int) -> None:
        correction, self._correction = self._correction, 0
        (delay,) = self._limits.lease([tokens], correction, time.monotonic())
        await asyncio.sleep(delay)

    def correct(self, tokens: int) -> None:
        self._correction += tokens

    def warn(self, message: str) -> None:
        logger.warning(message)

    def waiting(self, message: str | None) -> None:
        if message:
            logger.warning(message)

    def report(self, stats: Mapping[str, float]) -> None:
        """Nobody watches."""
