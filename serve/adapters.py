"""Reward functions of other trainers over a running scorer. Examples that run: serve/examples/.

    from serve.adapters import TrlReward

    GRPOTrainer(model, reward_funcs=TrlReward("http://127.0.0.1:8000"), ...)       # RLOOTrainer, OnlineDPOTrainer too
    GRPOTrainer(model, reward_funcs=TrlReward(partial(HandleClient.of, "wildreward")), ...)   # in a Ray actor

Everything goes through the clients, with patient retries: a scorer that restarts holds training up and does not end it.
A completion without a score is an error, or None where the trainer leaves such rows out; it never gets a number.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from statistics import fmean
from typing import Any, Literal

from serve.calls import Prompt
from serve.client import AsyncClient, AsyncHttpClient, HttpClient, SyncClient
from serve.patience import Retry
from serve.schema import RequestError, ScoredReply

Completion = str | Sequence[Mapping[str, Any]]
Unscored = Literal["raise", "none"]

TOKEN_ENV = "WILDREWARD_TOKEN"
PATIENT = Retry(attempts=100, deadline_s=900)
REFUSED = frozenset({413, 422})
"""The scorer will not score this text, however often it is asked."""
LEAVES_NONE_OUT = "log_extra"
"""A keyword that GRPO and RLOO of TRL pass, which exclude a row of None from the loss. Online DPO (trl.experimental)
passes no such thing, and would count None as 0."""


class _TrlBase:
    """What both TRL adapters share. Picklable: a trainer may send it to a worker process."""

    __name__ = "wildreward"  # what TRL calls its metrics: rewards/wildreward/mean

    def __init__(self, unscored: Unscored) -> None:
        self.unscored = unscored

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_client"}

    def _may_leave_out(self, error: RequestError) -> bool:
        return self.unscored == "none" and error.status in REFUSED

    def _rewards(self, scores: Sequence[ScoredReply | None], context: Mapping[str, Any]) -> list[float | None]:
        missing = scores.count(None)
        if missing and LEAVES_NONE_OUT not in context:
            raise ValueError(
                f"{missing} of {len(scores)} completions have no score, and this trainer does not leave such rows out"
            )
        scored = [score for score in scores if score is not None]
        log: Callable[[str, float], None] | None = context.get("log_metric")
        if log is not None and scored:
            log("wildreward/uncertainty", fmean(score.uncertainty for score in scored))
            log("wildreward/unscored_frac", missing / len(scores))
            log("wildreward/cut_frac", fmean(bool(_cut(score)) for score in scored))
        return [None if score is None else score.score for score in scores]


class TrlReward(_TrlBase):
    """A reward function of TRL: `reward(prompts, completions, **columns)` gives one score a completion.

    `scorer` is a URL (its bearer token from WILDREWARD_TOKEN), or makes a client. Prompts and completions may be plain
    texts or messages. A completion that the scorer refuses (an empty one is common) raises RequestError; with
    `unscored="none"` it becomes None, which GRPO and RLOO leave out of the loss.
    """

    def __init__(self, scorer: str | Callable[[], SyncClient], unscored: Unscored = "raise") -> None:
        super().__init__(unscored)
        self.scorer = scorer

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **context: Any
    ) -> list[float | None]:
        talks = [conversation(p, c) for p, c in zip(prompts, completions, strict=True)]
        return self._rewards(self._scores(talks), context)

    def _scores(self, talks: list[list[dict[str, str]]]) -> list[ScoredReply | None]:
        """All at once; where one is refused and may be left out, by halves."""
        try:
            return list(self._client.score(talks))
        except RequestError as error:
            if not self._may_leave_out(error):
                raise
        middle = len(talks) // 2
        return [None] if middle == 0 else self._scores(talks[:middle]) + self._scores(talks[middle:])

    @cached_property
    def _client(self) -> SyncClient:
        return http_client(self.scorer) if isinstance(self.scorer, str) else self.scorer()


class AsyncTrlReward(_TrlBase):
    """As TrlReward, awaited: TRL runs it beside the other asynchronous reward functions."""

    def __init__(self, scorer: str | Callable[[], AsyncClient], unscored: Unscored = "raise") -> None:
        super().__init__(unscored)
        self.scorer = scorer

    async def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **context: Any
    ) -> list[float | None]:
        talks = [conversation(p, c) for p, c in zip(prompts, completions, strict=True)]
        return self._rewards(await self._scores(talks), context)

    async def _scores(self, talks: list[list[dict[str, str]]]) -> list[ScoredReply | None]:
        try:
            return list(await self._client.of_loop().score(talks))
        except RequestError as error:
            if not self._may_leave_out(error):
                raise
        middle = len(talks) // 2
        return [None] if middle == 0 else await self._scores(talks[:middle]) + await self._scores(talks[middle:])

    @cached_property
    def _client(self) -> "LoopClient":
        return LoopClient(partial(async_http_client, self.scorer) if isinstance(self.scorer, str) else self.scorer)


class LoopClient:
    """An async client belongs to one event loop; a trainer may replace its loop."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._make = make
        self._made: tuple[asyncio.AbstractEventLoop, AsyncClient] | None = None

    def of_loop(self) -> AsyncClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        if self._made is None or self._made[0] is not loop:
            self._made = (loop, self._make())
        return self._made[1]


def async_http_client(url: str) -> AsyncHttpClient:
    """As `http_client`, for async code."""
    return AsyncHttpClient(url.removesuffix("/get_reward"), os.environ.get(TOKEN_ENV) or None, retry=PATIENT)


def http_client(url: str) -> HttpClient:
    """A patient client with the token of the environment; the path of a reward server may be given with the URL."""
    return HttpClient(url.removesuffix("/get_reward"), os.environ.get(TOKEN_ENV) or None, retry=PATIENT)


def conversation(prompt: Prompt, completion: Completion) -> list[dict[str, str]]:
    """One conversation that ends with the completion. A plain prompt is one user message.

    >>> conversation("2+2?", [{"role": "assistant", "content": [{"type": "text", "text": "4"}]}])
    [{'role': 'user', 'content': '2+2?'}, {'role': 'assistant', 'content': '4'}]
    """
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    after = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
    return [{"role": message["role"], "content": _text(message["content"])} for message in [*before, *after]]


def _text(content: Any) -> str:
    """Plain content, or its text blocks. Raises ValueError for another block: the scorer reads text alone."""
    if isinstance(content, str):
        return content
    kinds = {block["type"] for block in content}
    if kinds - {"text"}:
        raise ValueError(f"content: found blocks of {', '.join(sorted(kinds))}; the scorer reads text alone")
    return "".join(block["text"] for block in content)


def _cut(score: ScoredReply) -> int:
    return score.prompt_tokens_cut + score.response_tokens_cut
