"""Clients of the scorer: over HTTP or over the deployment handle, each sync and async, all with the same methods.

    from serve.client import HttpClient

    with HttpClient("http://127.0.0.1:8000", token=None) as scorer:
        scorer.score([[{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]])[0].score
        scorer.score_replies("2+2?", ["4", "5"])
        scorer.compare([("2+2?", "4", "5")])[0].a_better
        scorer.rewards(["a finished text"])

In an actor of the same cluster: `HandleClient.of("wildreward")`, or `AsyncHandleClient` inside async code. Long lists
are sent in pieces, and results are in the order of the questions. Overload (503, 429), a replica that died and a broken
connection are tried again (`Retry`); everything else is raised as RequestError, also an answer of another shape or with
another number of results. No client ever makes up a score.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from serve.calls import (
    ROUTES,
    Message,
    Prompt,
    answer_of,
    auth_headers,
    handle_errors,
    handle_of,
    model_of,
    pair_payloads,
    pairs_of,
    remote,
    replies_of,
    reply_payloads,
    rewards_of,
    score_payloads,
    text_payloads,
    unavailable,
)
from serve.patience import Retry, timed_out
from serve.schema import ComparedPair, ModelInfo, RequestError, ScoredReply

TIMEOUT_S = 120.0
"""Of one attempt. A scorer's own deadline (request_timeout_s) is shorter by default."""
IN_FLIGHT = 64
PIECES_IN_FLIGHT = 8
"""Of one call: a long list must not fill a replica with more than it can score before its deadline."""


class SyncClient:
    """The methods, over a `_call` that a transport provides. All raise RequestError. Threads may share a client."""

    def __init__(self, timeout_s: float = TIMEOUT_S, retry: Retry | None = None) -> None:
        self.timeout_s, self.retry = timeout_s, retry or Retry()

    def _call(self, route: str, payload: dict[str, Any] | None, timeout_s: float) -> Any:
        raise NotImplementedError

    def _patient(self, route: str, payload: dict[str, Any] | None = None) -> Any:
        attempts = self.retry.begin()
        while True:
            try:
                return self._call(route, payload, attempts.time_left(self.timeout_s))
            except RequestError as error:
                wait_s = attempts.wait_after(error)
            time.sleep(wait_s)

    def _all(self, route: str, payloads: Sequence[dict[str, Any]]) -> list[Any]:
        return [self._patient(route, payload) for payload in payloads]

    def score(self, conversations: Sequence[Sequence[Message]]) -> list[ScoredReply]:
        """One result a conversation, in order; each ends with the reply to score."""
        return replies_of(self._all("score", score_payloads(conversations)), len(conversations))

    def score_replies(self, prompt: Prompt, replies: Sequence[str]) -> list[ScoredReply]:
        """One result a reply to the same prompt."""
        return replies_of(self._all("score", reply_payloads(prompt, replies)), len(replies))

    def compare(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[ComparedPair]:
        """Of (prompt, reply A, reply B): both results and the probability that A is better."""
        return pairs_of(self._all("compare", pair_payloads(pairs)), len(pairs))

    def rewards(self, texts: Sequence[str]) -> list[float]:
        """Scores of finished texts (see RewardRequest), from any server of OpenRLHF's shape; NaN where it says so."""
        return rewards_of(self._all("get_reward", text_payloads(texts)), len(texts))

    def model(self) -> ModelInfo:
        return model_of(self._patient("model"))


class AsyncClient:
    """As SyncClient, awaited, within one event loop; at most `in_flight` requests of the client are under way at once.

    Cancelling a call cancels its requests, and so do other pieces of a call when one of them fails.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, retry: Retry | None = None, in_flight: int = IN_FLIGHT) -> None:
        self.timeout_s, self.retry = timeout_s, retry or Retry()
        self._bound = asyncio.Semaphore(in_flight)

    async def _call(self, route: str, payload: dict[str, Any] | None, timeout_s: float) -> Any:
        raise NotImplementedError

    async def _patient(self, route: str, payload: dict[str, Any] | None = None) -> Any:
        attempts = self.retry.begin()
        while True:
            try:
                async with self._bound:
                    return await self._call(route, payload, attempts.time_left(self.timeout_s))
            except RequestError as error:
                wait_s = attempts.wait_after(error)
            await asyncio.sleep(wait_s)

    async def _all(self, route: str, payloads: Sequence[dict[str, Any]]) -> list[Any]:
        pieces = asyncio.Semaphore(PIECES_IN_FLIGHT)

        async def one(payload: dict[str, Any]) -> Any:
            async with pieces:
                return await self._patient(route, payload)

        return await together([asyncio.ensure_future(one(payload)) for payload in payloads])

    async def score(self, conversations: Sequence[Sequence[Message]]) -> list[ScoredReply]:
        return replies_of(await self._all("score", score_payloads(conversations)), len(conversations))

    async def score_replies(self, prompt: Prompt, replies: Sequence[str]) -> list[ScoredReply]:
        return replies_of(await self._all("score", reply_payloads(prompt, replies)), len(replies))

    async def compare(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[ComparedPair]:
        return pairs_of(await self._all("compare", pair_payloads(pairs)), len(pairs))

    async def rewards(self, texts: Sequence[str]) -> list[float]:
        return rewards_of(await self._all("get_reward", text_payloads(texts)), len(texts))

    async def model(self) -> ModelInfo:
        return model_of(await self._patient("model"))


async def together(tasks: Sequence["asyncio.Future[Any]"]) -> list[Any]:
    """All results, in order. The first failure is raised once the others are cancelled."""
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _http_errors(timeout_s: float) -> Iterator[None]:
    """A server that does not answer in time is 504; one that was not reached, or hung up, is 503 and tried again."""
    try:
        yield
    except (httpx2.ReadTimeout, httpx2.WriteTimeout, TimeoutError):
        raise timed_out(timeout_s) from None
    except httpx2.TransportError as error:
        raise unavailable(error) from error


class HttpClient(SyncClient):
    """Over HTTP. Connections are kept and shared by the threads that use it."""

    def __init__(
        self, url: str, token: str | None = None, timeout_s: float = TIMEOUT_S, retry: Retry | None = None
    ) -> None:
        super().__init__(timeout_s, retry)
        self._http = httpx2.Client(base_url=url, headers=auth_headers(token))

    def _call(self, route: str, payload: dict[str, Any] | None, timeout_s: float) -> Any:
        method, ends = "GET" if payload is None else "POST", time.monotonic() + timeout_s
        with (
            _http_errors(timeout_s),
            self._http.stream(method, ROUTES[route], json=payload, timeout=timeout_s) as answer,
        ):
            body = bytearray()
            for part in answer.iter_bytes():  # httpx bounds the wait for each part, not for all of them
                body += part
                if time.monotonic() > ends:
                    raise timed_out(timeout_s)
        return answer_of(answer.status_code, answer.headers, bytes(body))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncHttpClient(AsyncClient):
    """Over HTTP, within one event loop."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retry: Retry | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        super().__init__(timeout_s, retry, in_flight)
        limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
        self._http = httpx2.AsyncClient(base_url=url, headers=auth_headers(token), limits=limits)

    async def _call(self, route: str, payload: dict[str, Any] | None, timeout_s: float) -> Any:
        method = "GET" if payload is None else "POST"
        with _http_errors(timeout_s):
            async with asyncio.timeout(timeout_s):
                answer = await self._http.request(method, ROUTES[route], json=payload, timeout=timeout_s)
        return answer_of(answer.status_code, answer.headers, answer.content)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class HandleClient(SyncClient):
    """Over the deployment handle, without HTTP, from a driver or an actor of the same cluster (not from async code)."""

    def __init__(self, handle: Any, timeout_s: float = TIMEOUT_S, retry: Retry | None = None) -> None:
        super().__init__(timeout_s, retry)
        self._handle = handle

    @classmethod
    def of(cls, app_name: str = "wildreward", **options: Any) -> Self:
        return cls(handle_of(app_name), **options)

    def _call(self, route: str, payload: dict[str, Any] | None, timeout_s: float) -> Any:
        with handle_errors(timeout_s):
            response = remote(self._handle, route, payload)
            try:
                return response.result(timeout_s=timeout_s)
            except TimeoutError:
                response.cancel()
                raise


class AsyncHandleClient(AsyncClient):
    """As HandleClient, for async code."""

    def __init__(
        self, handle: Any, timeout_s: float = TIMEOUT_S, retry: Retry | None = None, in_flight: int = IN_FLIGHT
    ) -> None:
        super().__init__(timeout_s, retry, in_flight)
        self._handle = handle

    @classmethod
    def of(cls, app_name: str = "wildreward", **options: Any) -> Self:
        return cls(handle_of(app_name), **options)

    async def _call(self, route: str, payload: dict[str, Any] | None, timeout_s: float) -> Any:
        with handle_errors(timeout_s):
            response = remote(self._handle, route, payload)
            try:
                async with asyncio.timeout(timeout_s):
                    return await response
            except (TimeoutError, asyncio.CancelledError):
                response.cancel()
                raise
