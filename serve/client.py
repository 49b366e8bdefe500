"""Clients of the scorer: over HTTP or over the deployment handle, each sync and async, all with the same methods.

    with HttpClient("http://127.0.0.1:8000", token=None) as scorer:
        scorer.score([[{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]])[0].score
        scorer.score_replies("2+2?", ["4", "5"])
        scorer.compare([("2+2?", "4", "5")])[0].a_better
        scorer.rewards(["a finished text"])

In an actor of the same cluster: `HandleClient.of("wildreward")`, or `AsyncHandleClient` inside async code. Long lists
are sent in pieces. Overload (503, 429), a replica that died and a broken connection are tried again, as scoring has no
side effect; everything else is raised as RequestError. No client ever makes up a score.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Self

import httpx2

from serve.calls import (
    ROUTES,
    Message,
    Payloads,
    Prompt,
    Retry,
    answer_of,
    auth_headers,
    handle_errors,
    handle_of,
    pairs_of,
    remote,
    replies_of,
    rewards_of,
    unavailable,
)
from serve.schema import ComparedPair, ModelInfo, RequestError, ScoredReply


class SyncClient(Payloads):
    """The methods, over a `_call` that a transport provides. All raise RequestError."""

    retry = Retry()

    def _call(self, route: str, payload: dict[str, Any] | None) -> Any:
        raise NotImplementedError

    def _patient(self, route: str, payload: dict[str, Any] | None = None) -> Any:
        for wait_s in self.retry.waits():
            try:
                return self._call(route, payload)
            except RequestError as error:
                if not self.retry.is_worth_it(error):
                    raise
                time.sleep(max(wait_s, error.retry_after_s or 0))
        return self._call(route, payload)

    def score(self, conversations: Sequence[Sequence[Message]]) -> list[ScoredReply]:
        """One result a conversation, in order; each ends with the reply to score."""
        return replies_of([self._patient("score", payload) for payload in self._score_payloads(conversations)])

    def score_replies(self, prompt: Prompt, replies: Sequence[str]) -> list[ScoredReply]:
        """One result a reply to the same prompt."""
        return replies_of([self._patient("score", payload) for payload in self._reply_payloads(prompt, replies)])

    def compare(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[ComparedPair]:
        """Of (prompt, reply A, reply B): both results and the probability that A is better."""
        return pairs_of([self._patient("compare", payload) for payload in self._pair_payloads(pairs)])

    def rewards(self, texts: Sequence[str]) -> list[float]:
        """Scores of finished texts (see RewardRequest)."""
        return rewards_of([self._patient("get_reward", payload) for payload in self._text_payloads(texts)])

    def model(self) -> ModelInfo:
        return ModelInfo.model_validate(self._patient("model"))


class AsyncClient(Payloads):
    """As SyncClient, awaited; the pieces of a long list are in flight together, at most `in_flight` at once."""

    retry = Retry()
    in_flight = 8

    async def _call(self, route: str, payload: dict[str, Any] | None) -> Any:
        raise NotImplementedError

    async def _patient(self, route: str, payload: dict[str, Any] | None = None) -> Any:
        for wait_s in self.retry.waits():
            try:
                return await self._call(route, payload)
            except RequestError as error:
                if not self.retry.is_worth_it(error):
                    raise
                await asyncio.sleep(max(wait_s, error.retry_after_s or 0))
        return await self._call(route, payload)

    async def _all(self, route: str, payloads: Sequence[dict[str, Any]]) -> list[Any]:
        bound = asyncio.Semaphore(self.in_flight)

        async def one(payload: dict[str, Any]) -> Any:
            async with bound:
                return await self._patient(route, payload)

        return await asyncio.gather(*map(one, payloads))

    async def score(self, conversations: Sequence[Sequence[Message]]) -> list[ScoredReply]:
        return replies_of(await self._all("score", self._score_payloads(conversations)))

    async def score_replies(self, prompt: Prompt, replies: Sequence[str]) -> list[ScoredReply]:
        return replies_of(await self._all("score", self._reply_payloads(prompt, replies)))

    async def compare(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[ComparedPair]:
        return pairs_of(await self._all("compare", self._pair_payloads(pairs)))

    async def rewards(self, texts: Sequence[str]) -> list[float]:
        return rewards_of(await self._all("get_reward", self._text_payloads(texts)))

    async def model(self) -> ModelInfo:
        return ModelInfo.model_validate(await self._patient("model"))


class HttpClient(SyncClient):
    """Over HTTP, from one thread at a time."""

    def __init__(
        self, url: str, token: str | None = None, timeout_s: float = 120.0, retry: Retry | None = None
    ) -> None:
        self._http = httpx2.Client(base_url=url, headers=auth_headers(token), timeout=timeout_s)
        self.retry = retry or Retry()

    def _call(self, route: str, payload: dict[str, Any] | None) -> Any:
        method = "GET" if payload is None else "POST"
        try:
            answer = self._http.request(method, ROUTES[route], json=payload)
        except httpx2.TransportError as error:
            raise unavailable(error) from error
        return answer_of(answer.status_code, answer.headers, answer.content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


class AsyncHttpClient(AsyncClient):
    """Over HTTP, within one event loop."""

    def __init__(
        self, url: str, token: str | None = None, timeout_s: float = 120.0, retry: Retry | None = None
    ) -> None:
        self._http = httpx2.AsyncClient(base_url=url, headers=auth_headers(token), timeout=timeout_s)
        self.retry = retry or Retry()

    async def _call(self, route: str, payload: dict[str, Any] | None) -> Any:
        method = "GET" if payload is None else "POST"
        try:
            answer = await self._http.request(method, ROUTES[route], json=payload)
        except httpx2.TransportError as error:
            raise unavailable(error) from error
        return answer_of(answer.status_code, answer.headers, answer.content)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


class HandleClient(SyncClient):
    """Over the deployment handle, without HTTP, from a driver or an actor of the same cluster (not from async code)."""

    def __init__(self, handle: Any, retry: Retry | None = None) -> None:
        self._handle, self.retry = handle, retry or Retry()

    @classmethod
    def of(cls, app_name: str = "wildreward") -> Self:
        return cls(handle_of(app_name))

    def _call(self, route: str, payload: dict[str, Any] | None) -> Any:
        with handle_errors():
            return remote(self._handle, route, payload).result()


class AsyncHandleClient(AsyncClient):
    """As HandleClient, for async code."""

    def __init__(self, handle: Any, retry: Retry | None = None) -> None:
        self._handle, self.retry = handle, retry or Retry()

    @classmethod
    def of(cls, app_name: str = "wildreward") -> Self:
        return cls(handle_of(app_name))

    async def _call(self, route: str, payload: dict[str, Any] | None) -> Any:
        with handle_errors():
            return await remote(self._handle, route, payload)
