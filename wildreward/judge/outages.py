"""While endpoints are down: a sample question goes to each, with growing pauses, until it is answered.

While none is up all questions wait, at most `judge_max_outage_s`; then the judge is given up.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine

from wildreward.errors import JudgeError
from wildreward.judge.answers import Cost
from wildreward.judge.endpoints import Endpoint, Endpoints
from wildreward.judge.failures import RefusedError, RejectedError, RequestError
from wildreward.judge.guard import Guard
from wildreward.judge.sender import Sender
from wildreward.judge.shared import Shared
from wildreward.settings.label import LabelSettings

FIRST_SHOWN_S, SHOWN_EVERY_S = 1.0, 10.0
"""When a run that waits for its judge says so."""

SPREAD_S = 1.0
"""Questions that wait for the same moment start within this time after it, not all at once."""


class Outages:
    """Which endpoint may be asked, and the waiting while none may."""

    def __init__(
        self, settings: LabelSettings, endpoints: Endpoints, sender: Sender, shared: Shared, sample: bytes
    ) -> None:
        self._settings, self._endpoints, self._sender = settings, endpoints, sender
        self._shared, self._sample = shared, sample
        self.guard = Guard(settings.judge_max_consecutive_failures)
        self._up = asyncio.Event()
        self._up.set()
        self._probed: set[Endpoint] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed_samples = 0
        """Samples without an answer so far: a judge that was really down makes it rise."""

    async def ready(self, avoid: Endpoint | None) -> Endpoint:
        """An endpoint to ask, once there is one. Raises JudgeError when the judge has been given up."""
        while True:
            self.guard.check()
            endpoint = self._endpoints.choose(avoid)
            if endpoint is not None:
                return endpoint
            pause_s = self._endpoints.pause_s()
            if pause_s is None:
                self._wait_if_none_is_up()
                await self._up.wait()
            else:
                await asyncio.sleep(pause_s + random.uniform(0, min(SPREAD_S, pause_s)))

    def doubt(self) -> None:
        """Nothing was answered for a while: no endpoint gets a question before it has answered the sample."""
        for endpoint in self._endpoints.doubt():
            self.fell(endpoint)

    def fell(self, endpoint: Endpoint) -> None:
        """An endpoint went down."""
        if endpoint not in self._probed:
            self._probed.add(endpoint)
            self._start(self._probe(endpoint))
        self._wait_if_none_is_up()

    def answered(self) -> None:
        """An answer came: whoever gave it is up again, unless it is out meanwhile."""
        if not self._up.is_set() and self._endpoints.pause_s() is not None:
            self._up.set()

    def reject(self, endpoint: Endpoint, error: RejectedError) -> None:
        """An endpoint is out. With the last one the judge is given up."""
        if not self._endpoints.reject(endpoint, error.detail):
            return
        if self._endpoints.usable():
            self._sender.stats["endpoints_out"] += 1
            self._shared.warn(f"{endpoint.url} is out for the rest of the run: {error.detail}")
            self._wait_if_none_is_up()
        else:
            self.give_up("no endpoint can be used")

    def give_up(self, what: str) -> JudgeError:
        """Stop every question of this actor with the JudgeError that is returned."""
        used = dict.fromkeys(one.key_variable for one in self._endpoints.all if one.has_key)
        keys = ", ".join(f"the key in {variable}" for variable in used) or "no key"
        model = self._settings.judge_model
        error = self.guard.break_off(f"{what}: {self._endpoints.status()} (judge_model {model}, {keys})")
        self._up.set()
        return error

    def backoff_s(self, earlier: int) -> float:
        """Pause before the next try: doubling, with jitter, so that many questions do not return at once."""
        longest = min(self._settings.judge_retry_max_s, self._settings.judge_retry_base_s * 2 ** min(earlier, 32))
        return longest * random.uniform(0.5, 1.0)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _probe(self, endpoint: Endpoint) -> None:
        """Put the sample to an endpoint until it is up, or out."""
        for attempt in itertools.count():
            pause_s = await self._ask_sample(endpoint, attempt)
            if not endpoint.down or endpoint.out is not None:
                break
            await asyncio.sleep(min(pause_s, self._settings.judge_max_outage_s))
        self._probed.discard(endpoint)

    async def _ask_sample(self, endpoint: Endpoint, attempt: int) -> float:
        """Ask once; the pause before the next time, if there is one."""
        estimate = await self._sender.permit(self._sample)
        self._sender.stats["samples"] += 1
        try:
            await self._sender.send(endpoint, self._sample, estimate, Cost())
        except RejectedError as error:
            self.reject(endpoint, error)
        except RefusedError:  # it is there, and says no to this question only
            endpoint.down, endpoint.failures_in_a_row = False, 0
            self.answered()
        except RequestError as error:
            self.failed_samples += 1
            endpoint.last_failure = error.detail
            return self.backoff_s(attempt) if error.retry_after_s is None else error.retry_after_s
        else:
            self.answered()
        return 0.0

    def _wait_if_none_is_up(self) -> None:
        if self._endpoints.pause_s() is None and self._up.is_set():
            self._up.clear()
            self._start(self._outage())

    async def _outage(self) -> None:
        """Count the time until an endpoint is up, and show it."""
        started, longest_s, shown_s = time.monotonic(), self._settings.judge_max_outage_s, FIRST_SHOWN_S
        while not self._up.is_set():
            waited_s = time.monotonic() - started
            if waited_s >= longest_s:
                self.give_up(f"nothing was answered for {waited_s:.0f} s")
                break
            try:
                async with asyncio.timeout(min(shown_s, longest_s - waited_s)):
                    await self._up.wait()
            except TimeoutError:
                of = f"{time.monotonic() - started:.0f} of at most {longest_s:.0f} s"
                self._shared.waiting(f"the judge does not answer, waiting ({of}): {self._endpoints.status()}")
                shown_s = SHOWN_EVERY_S
        self._sender.stats["outage_s"] += time.monotonic() - started
        self._shared.waiting(None)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
