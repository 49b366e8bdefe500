"""Questions of one judge actor: bounded in flight, tried again, moved to another endpoint.

One rule tells a turn that fails from a judge that is down. A question that used up its tries is an error only if the
judge answered something else since its first failure. If it did not, a sample question is put to the judge. Answered at
once, the question has one more round of tries, and is an error if they fail too. Not answered, the judge is down, and
every question waits (`judge.outages`) and then has all its tries again.
"""

import asyncio
import time
from dataclasses import dataclass

from wildreward.judge.answers import Cost
from wildreward.judge.completions import Completion
from wildreward.judge.endpoints import Endpoint, Endpoints
from wildreward.judge.failures import LimitedError, PassingError, RejectedError, RequestError
from wildreward.judge.outages import Outages
from wildreward.judge.sender import Sender
from wildreward.judge.shared import Shared
from wildreward.settings.label import LabelSettings


@dataclass
class _Trial:
    """The tries of one question, and the counters it compares with."""

    failures: int = 0
    answers_at_first: int = 0
    failed_samples_at_doubt: int | None = None
    limits: int = 0
    limited_since: float = 0.0
    answers_at_limit: int = 0


class Calls:
    """All coroutines must run in one event loop."""

    def __init__(self, settings: LabelSettings, shared: Shared, sample: bytes) -> None:
        self._settings = settings
        self._endpoints = Endpoints.from_environment(settings.judge_url)
        self._sender = Sender(settings, self._endpoints, shared)
        self._outages = Outages(settings, self._endpoints, self._sender, shared, sample)
        self.guard = self._outages.guard
        self._slots = asyncio.Semaphore(settings.judge_concurrency)

    @property
    def stats(self) -> dict[str, float]:
        """Counters so far: requests (samples among them), answers, latency_s (a sum), samples, retries_REASON, ..."""
        return self._sender.stats

    async def complete(self, body: bytes, cost: Cost) -> Completion:
        """The answer to a request body. Raises RequestError for the question, JudgeError for the judge."""
        trial, avoid = _Trial(), None
        while True:
            async with self._slots:
                endpoint = await self._outages.ready(avoid)
                estimate = await self._sender.permit(body)
                try:
                    completion = await self._sender.send(endpoint, body, estimate, cost)
                except RequestError as error:
                    failed, avoid = error, endpoint
                else:
                    self._outages.answered()
                    return completion
            pause_s = self._after(failed, endpoint, trial)
            self.stats[f"retries_{failed.reason}"] += 1
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        await self._outages.close()
        await self._sender.close()

    def _after(self, failed: RequestError, endpoint: Endpoint, trial: _Trial) -> float:
        """Seconds until the question is put again. Raises `failed` when that is no use, or JudgeError."""
        if isinstance(failed, RejectedError):
            self._outages.reject(endpoint, failed)
            self.guard.check()
            return 0.0
        if isinstance(failed, LimitedError):
            return self._after_limit(failed, endpoint, trial)
        if isinstance(failed, PassingError):
            return self._after_passing(failed, endpoint, trial)
        endpoint.failures_in_a_row = 0  # it refused this question, and is well
        raise failed

    def _after_passing(self, failed: PassingError, endpoint: Endpoint, trial: _Trial) -> float:
        if self._endpoints.failed(endpoint, failed.detail):
            self._outages.fell(endpoint)
        if not trial.failures:
            trial.answers_at_first = self._endpoints.answers
        trial.failures += 1
        if trial.failures > self._settings.judge_max_retries:
            answers_others = self._endpoints.answers > trial.answers_at_first
            if answers_others or trial.failed_samples_at_doubt == self._outages.failed_samples:
                raise failed
            trial.failures, trial.failed_samples_at_doubt = 0, self._outages.failed_samples
            self._outages.doubt()
            return 0.0
        return self._pause(failed, endpoint, trial.failures - 1)

    def _after_limit(self, failed: LimitedError, endpoint: Endpoint, trial: _Trial) -> float:
        """A 429 is no failure and is waited out, though not for ever: some servers say it to what is too long."""
        now, longest_s = time.monotonic(), self._settings.judge_max_outage_s
        if not trial.limits:
            trial.limited_since, trial.answers_at_limit = now, self._endpoints.answers
        trial.limits += 1
        endpoint.last_failure = failed.detail
        if now - trial.limited_since > longest_s:
            if self._endpoints.answers > trial.answers_at_limit:
                raise failed
            raise self._outages.give_up(f"nothing but rate limits for {longest_s:.0f} s")
        return self._pause(failed, endpoint, trial.limits - 1)

    def _pause(self, failed: RequestError, endpoint: Endpoint, earlier: int) -> float:
        """A pause the server asks for holds for the endpoint, and `ready` keeps it; one of our own for the question."""
        if failed.retry_after_s is None:
            return self._outages.backoff_s(earlier)
        self._endpoints.pause(endpoint, min(failed.retry_after_s, self._settings.judge_max_outage_s))
        return 0.0
