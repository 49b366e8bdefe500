"""One request to one endpoint: paced by the run's limits, counted, its failure told apart. Nothing is tried again."""

import dataclasses
import json
import time
from collections import defaultdict

from wildreward.judge.answers import Cost
from wildreward.judge.completions import Completion, MalformedError, read_completion
from wildreward.judge.endpoints import MIN_SECRET_CHARS, Endpoint, Endpoints
from wildreward.judge.failures import PassingError, RequestError, failure
from wildreward.judge.rate_limit import TokenEstimate
from wildreward.judge.shared import Shared
from wildreward.judge.transport import Transport
from wildreward.settings.label import LabelSettings


class Sender:
    """Sends for all questions of a judge actor."""

    def __init__(self, settings: LabelSettings, endpoints: Endpoints, shared: Shared) -> None:
        self._settings, self._endpoints, self._shared = settings, endpoints, shared
        # A sample for an endpoint that is down does not wait for a slot: hence one connection more each.
        self._transport = Transport(settings.judge_timeout_s, settings.judge_concurrency + len(settings.judge_url))
        self._limited = bool(settings.judge_requests_per_minute or settings.judge_tokens_per_minute)
        self._estimate = TokenEstimate(settings.judge_max_tokens)
        self.stats: defaultdict[str, float] = defaultdict(int)

    async def permit(self, body: bytes) -> int:
        """Wait until the run's limits allow the request; the tokens it was taken to need."""
        if not self._limited:
            return 0
        tokens = self._estimate.of(body)
        await self._shared.permit(tokens)
        return tokens

    async def send(self, endpoint: Endpoint, body: bytes, estimate: int, cost: Cost) -> Completion:
        """The answer; its request and tokens are added to `cost`. Raises RequestError, with no key in its words."""
        cost.attempts += 1
        self.stats["requests"] += 1
        endpoint.in_flight += 1
        started = time.perf_counter()
        try:
            completion = await self._exchange(endpoint, body)
        except RequestError as error:
            error.detail = self._endpoints.redact(error.detail)
            raise
        finally:
            endpoint.in_flight -= 1
        self._endpoints.answered(endpoint)
        self.stats["answers"] += 1
        self.stats["latency_s"] += time.perf_counter() - started
        if completion.usage is not None:
            self._settle(body, estimate, completion.usage, cost)
        return completion

    async def close(self) -> None:
        await self._transport.close()

    async def _exchange(self, endpoint: Endpoint, body: bytes) -> Completion:
        response = await self._transport.post(endpoint.address, endpoint.headers, body, endpoint.proxy)
        if not 200 <= response.status < 300:
            raise failure(response, self._settings.judge_logprobs and not endpoint.answers)
        try:
            completion = read_completion(json.loads(response.body))
        except MalformedError as error:
            raise PassingError("malformed_response", str(error)) from None
        except (ValueError, RecursionError) as error:
            raise PassingError("malformed_response", f"HTTP {response.status} without JSON: {error}") from None
        text = self._endpoints.redact(completion.text or "", MIN_SECRET_CHARS)
        return completion if text == (completion.text or "") else dataclasses.replace(completion, text=text)

    def _settle(self, body: bytes, estimate: int, usage: tuple[int, int], cost: Cost) -> None:
        cost.add_tokens(*usage)
        if self._limited:
            self._estimate.learn(body, *usage)
            self._shared.correct(sum(usage) - estimate)
