"""The judge behind any OpenAI-compatible endpoint: bounded concurrency, patient retries, typed errors.

The client's own retries are off, so that every request is counted here. What failed is told apart three ways: what
passes (408, 409, 429, 5xx, lost connections, timeouts) is tried again; what is about one turn (a context that is too
long) is that turn's error; what is about the judge (a wrong key, an unknown model, an endpoint that stays down) is a
JudgeError and stops the run.
"""

import asyncio
import email.utils
import json
import os
import random
import time
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from wildreward.conversations import Message
from wildreward.errors import JudgeError
from wildreward.judge import prompts, replies
from wildreward.judge.answers import Answer, Cost
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.settings.label import LabelSettings

KEY_VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"
"""Sent where no key is set: local servers ask for none, and the client insists on one."""

PASSING_STATUS = frozenset({408, 409, 429})
FATAL_STATUS = frozenset({401, 402, 403, 404, 405})
FATAL_CODES = frozenset({"insufficient_quota"})
TOP_LOGPROBS = 20
REASK_TEMPERATURE = 0.3
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
        limits = openai.DefaultAsyncHttpx2Client(limits=_limits(settings.judge_concurrency))
        self._client = openai.AsyncOpenAI(
            base_url=settings.judge_url,
            api_key=self._key,
            timeout=settings.judge_timeout_s,
            max_retries=0,
            http_client=limits,
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
            text = completion.choices[0].message.content
            value = replies.parse(text, alphabet)
            if value is not None:
                self._guard.answered()
                return Answer(value, _probabilities(completion, value, alphabet), text, cost)
            temperature = max(temperature, REASK_TEMPERATURE)
        reason = f"no value of {alphabet} in the answer (finish_reason {completion.choices[0].finish_reason})"
        self._guard.failed("unparsable", reason)
        return Answer(None, None, text, cost, "unparsable", reason)

    async def _send(self, question: list[Message], temperature: float, cost: Cost) -> ChatCompletion:
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
            except json.JSONDecodeError as error:
                failure = _FailedError("malformed_response", f"not JSON: {error}")
            if attempt < self._settings.judge_max_retries:
                await asyncio.sleep(pause_s)
        raise failure

    async def _request(self, question: list[Message], temperature: float, cost: Cost) -> ChatCompletion:
        async with self._slots:
            self._guard.check()
            await asyncio.sleep(max(0.0, self._pause_until - time.monotonic()))
            cost.attempts += 1
            extra: dict[str, Any] = (
                {"logprobs": True, "top_logprobs": TOP_LOGPROBS} if self._settings.judge_logprobs else {}
            )
            async with asyncio.timeout(self._settings.judge_timeout_s):
                completion: Any = await self._client.chat.completions.create(
                    model=self.name,
                    messages=question,  # type: ignore[arg-type] # plain dicts: typed as a union of 6 TypedDicts there
                    temperature=temperature,
                    max_tokens=self._settings.judge_max_tokens,
                    extra_body=self._settings.judge_extra_body,
                    **extra,
                )
        if not isinstance(completion, ChatCompletion) or not completion.choices:
            raise json.JSONDecodeError("no chat completion", str(completion)[:80], 0)
        if completion.usage is not None:
            cost.add_tokens(completion.usage.prompt_tokens, completion.usage.completion_tokens)
        return completion

    def _classify(self, error: openai.APIStatusError) -> _FailedError:
        """The failure, if it may pass. Raises _FailedError where this turn is at fault, JudgeError where the judge is."""
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


class Guard:
    """Stops the run when the judge, not a turn, is the trouble: failures in a row, or nothing but failures so far."""

    def __init__(self, max_failures: int) -> None:
        self._max = max_failures
        self._in_a_row = 0
        self._ever_answered = False
        self._broken: str | None = None

    def answered(self) -> None:
        self._in_a_row, self._ever_answered = 0, True

    def failed(self, reason: str, detail: str) -> None:
        """Count a question that failed for good. Raises JudgeError at the limit.

        A failure that is about one turn counts only while no question at all has been answered: one long conversation
        may well hold many turns that do not fit the judge's context.
        """
        about_the_turn = reason in {"unparsable", "http_400", "http_413", "http_422"}
        if about_the_turn and self._ever_answered:
            return
        self._in_a_row += 1
        if self._in_a_row >= self._max:
            raise self.break_off(
                f"{self._in_a_row} questions in a row failed for good, the last with {reason}: {detail}"
            )

    def break_off(self, message: str) -> JudgeError:
        self._broken = self._broken or f"the judge cannot be used: {message}"
        return JudgeError(self._broken)

    def check(self) -> None:
        """Raises the JudgeError that stopped the judge: questions still waiting are not sent any more."""
        if self._broken is not None:
            raise JudgeError(self._broken)


def retry_after_s(header: str | None) -> float | None:
    """Seconds a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3). None when there is none.

    >>> retry_after_s("1.5"), retry_after_s("soon"), retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT")
    (1.5, None, 0.0)
    """
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header or "").timestamp() - time.time())
    except ValueError:
        return None


def _probabilities(completion: ChatCompletion, value: int, alphabet: tuple[int, ...]) -> tuple[float, ...] | None:
    logprobs = completion.choices[0].logprobs
    if logprobs is None or not logprobs.content:
        return None
    tokens = [(item.token, {top.token: top.logprob for top in item.top_logprobs}) for item in logprobs.content]
    return replies.distribution(tokens, value, alphabet)


def _limits(concurrency: int) -> Any:
    import httpx2

    return httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
