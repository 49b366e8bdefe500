"""What a judge is asked and what it answers: the same typed result whoever judges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wildreward.conversations import Message


@dataclass(frozen=True)
class TurnText:
    """One turn as a judge sees it: what came before, the user's prompt, the reply, and the user's next message."""

    history: list[Message]
    prompt: str
    response: str
    follow_up: str
    asker: str = ""
    """Which turn of which row this is. Not shown to the judge: on its account the judge cache puts the answer."""


@dataclass(frozen=True)
class Verdict:
    """The answer to the feedback question: a level 1..5 with its evidence, or a typed error and no level.

    `level_probs` are five numbers that sum to 1, or None where the judge gives none. `attempts` counts requests made.
    `cached`: nothing was asked now, and requests and tokens are those of the turn that was asked first.
    """

    level: int | None
    level_probs: tuple[float, ...] | None
    raw: str | None
    judge: str
    prompt_version: str
    attempts: int
    prompt_tokens: int | None
    completion_tokens: int | None
    error: str | None
    error_detail: str | None
    cached: bool = False


@dataclass(frozen=True)
class RefusalVerdict:
    """The answer to the refusal question: 0 false refusal, 1 justified refusal, 2 not a refusal; or a typed error."""

    verdict: int | None
    raw: str | None
    attempts: int
    prompt_tokens: int | None
    completion_tokens: int | None
    error: str | None
    error_detail: str | None
    cached: bool = False


@runtime_checkable
class Counting(Protocol):
    """A judge that counts what it does, such as `requests`, `latency_s` (a sum) and `retries_REASON`."""

    @property
    def stats(self) -> Mapping[str, float]: ...


class Judge(Protocol):
    """Asked from many coroutines at once. A failed answer is a typed error; JudgeError means the judge is unusable."""

    @property
    def name(self) -> str:
        """Who judges: `lexicon`, or the model's name. Stored with every label."""
        ...

    @property
    def prompt_version(self) -> str:
        """Which questions were asked. A change of wording changes it."""
        ...

    async def feedback(self, turn: TurnText) -> Verdict: ...

    async def refusal(self, turn: TurnText) -> RefusalVerdict: ...

    async def close(self) -> None: ...
