"""The judge behind any OpenAI-compatible endpoint: bounded concurrency, patient retries, typed errors.

The client's own retries are off, so that every request is counted here. What failed is told apart three ways: what
passes (408, 409, 429, 5xx, lost connections, timeouts) is tried again; what is about one turn (a context that is too
long) is that turn's error; what is about the judge (a wrong key, an unknown model, an endpoint that stays down) is a
JudgeError and stops the run.
"""

import asyncio
import json
import os
import random
import time
from typing import Any

import openai

from wildreward.conversations import Message
from wildreward.judge import prompts, replies
from wildreward.judge.answers import REASK_TEMPERATURE, TOP_LOGPROBS, Answer, Cost
from wildreward.judge.completions import Completion, MalformedError, read_completion, retry_after_s
from wildreward.judge.guard import Guard
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.settings.label import LabelSettings

KEY_VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"
"""Sent where no key is set: local servers ask for none, and the client insists on one."""

PASSING_STATUS = frozenset({408, 409, 429})
FATAL_STATUS = frozenset({401, 402, 403, 404, 405})
FATAL_CODES = frozenset({"insufficient_quota"})
MAX_DETAIL_CHARS = 300


class _FailedError(Exception):
    """A question that failed for good: reason code and detail of its typed error."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class OpenAIJudge:
    """`Judge` over HTTP. All its coroutines must run in one event loop."""

    prompt_version = prompts.VERSION

    def __init__(self, settings: LabelSettings) -> None:
        self.name = settings.judge_model or ""
        self._settings = settings
        self._key = os.environ.get(KEY_VARIABLE) or NO_KEY
        connections = _limits(settings.judge_concurrency)
        self._client = openai.AsyncOpenAI(
            base_url=settings.judge_url,
            api_key=self._key,
            timeout=settings.judge_timeout_s,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpx2Client(limits=connections),
        )
        self._slots = asyncio.Semaphore(settings.judge_concurrency)
        self._guard = Guard(settings.judge_max_consecutive_failures)
        self._pause_until = 0.0

    async def feedback(self, turn: TurnText) -> Verdict:
        question = prompts.feedback_messages(turn, self._settings.judge_history_turns)
        answer = await self._ask(question, prompts.FEEDBACK_ALPHABET)
        return answer.verdict(self.name, self.prompt_version)

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        question = prompts.refusal_messages(turn, self._settings.judge_history_turns)
        return (await self._ask(question, prompts.REFUSAL_ALPHABET)).refusal_verdict()

    async def close(self) -> None:
        await self._client.close()

    async def _ask(self, question: list[Message], alphabet: tuple[int, ...]) -> Answer:
        """Ask until an answer holds a value, at most 1 + judge_max_reasks times. Raises JudgeError."""
        cost, text = Cost(), None
        temperature = self._settings.judge_temperature
        for _ in range(1 + self._settings.judge_max_reasks):
            try:
                completion = await self._send(question, temperature, cost)
            except _FailedError as failure:
                self._guard.failed(failure.reason, failure.detail)
                return Answer(None, None, text, cost, failure.reason, failure.detail)
            text = completion.text
            value = replies.parse(text, alphabet)
            if value is not None:
                self._guard.answered()
                return Answer(value, replies.distribution(completion.tokens, value, alphabet), text, cost)
            temperature = max(temperature, REASK_TEMPERATURE)
        reason = f"no value of {alphabet} in the answer (finish_reason {completion.finish_reason})"
        self._guard.failed("unparsable", reason)
        return Answer(None, None, text, cost, "unparsable", reason)

    async def _send(self, question: list[Message], temperature: float, cost: Cost) -> Completion:
        """One completion, tried again while failures are of the passing kind. Raises _FailedError or JudgeError."""
        for attempt in range(1 + self._settings.judge_max_retries):
            pause_s = self._backoff(attempt)
            try:
                return await self._request(question, temperature, cost)
            except (openai.APITimeoutError, TimeoutError):
                failure = _FailedError("timeout", f"no answer within {self._settings.judge_timeout_s:g} s")
            except openai.APIConnectionError as error:
                failure = _FailedError("connection", f"{error} {error.__cause__ or ''}".strip()[:MAX_DETAIL_CHARS])
            except openai.APIStatusError as error:
                failure = self._classify(error)
                pause_s = self._retry_after(error, pause_s)
            except (MalformedError, json.JSONDecodeError) as error:
                failure = _FailedError("malformed_response", str(error)[:MAX_DETAIL_CHARS])
            if attempt < self._settings.judge_max_retries:
                await asyncio.sleep(pause_s)
        raise failure

    async def _request(self, question: list[Message], temperature: float, cost: Cost) -> Completion:
        async with self._slots:
            self._guard.check()
            await asyncio.sleep(max(0.0, self._pause_until - time.monotonic()))
            cost.attempts += 1
            async with asyncio.timeout(self._settings.judge_timeout_s):
                # The generic request: the typed one spends a fifth of its time on a schema these dicts do not need.
                body = await self._client.post(
                    "/chat/completions", body=self._body(question, temperature), cast_to=object
                )
        completion = read_completion(body)
        if completion.usage is not None:
            cost.add_tokens(*completion.usage)
        return completion

    def _body(self, question: list[Message], temperature: float) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {"model": self.name, "messages": question, "temperature": temperature}
        if "max_completion_tokens" not in settings.judge_extra_body:  # endpoints that know it refuse to get both
            body["max_tokens"] = settings.judge_max_tokens
        if settings.judge_logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        return body | settings.judge_extra_body

    def _classify(self, error: openai.APIStatusError) -> _FailedError:
        """The failure, if it may pass. Raises _FailedError if the turn is at fault, JudgeError if the judge is."""
        status = error.status_code
        detail = f"HTTP {status}: {error.message}".replace(self._key, "***")[:MAX_DETAIL_CHARS]
        if status in FATAL_STATUS or error.code in FATAL_CODES:
            raise self._guard.break_off(f"{detail} ({self._where()})")
        failure = _FailedError(f"http_{status}", detail)
        if status in PASSING_STATUS or status >= 500:
            return failure
        raise failure

    def _where(self) -> str:
        key = "no key" if self._key == NO_KEY else f"the key in {KEY_VARIABLE}"
        return f"judge_url {self._settings.judge_url}, judge_model {self.name}, {key}"

    def _backoff(self, attempt: int) -> float:
        """Seconds before the next try: doubling, with jitter, so that many coroutines do not return at once."""
        longest = min(self._settings.judge_retry_max_s, self._settings.judge_retry_base_s * 2**attempt)
        return longest * random.uniform(0.5, 1.0)

    def _retry_after(self, error: openai.APIStatusError, pause_s: float) -> float:
        """The pause the server asks for, else `pause_s`. A rate limit holds for all questions, not for this one."""
        asked_s = retry_after_s(error.response.headers.get("retry-after"))
        if asked_s is None:
            return pause_s
        asked_s = min(asked_s, self._settings.judge_retry_max_s)
        if error.status_code == 429:
            self._pause_until = max(self._pause_until, time.monotonic() + asked_s)
        return asked_s


def _limits(concurrency: int) -> Any:
    import httpx2

    return httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
