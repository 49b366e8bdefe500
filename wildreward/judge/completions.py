"""Chat completions as they come over HTTP, read with the distrust a foreign server deserves."""

import email.utils
import time
from dataclasses import dataclass
from typing import Any

from wildreward.judge.replies import Token


@dataclass(frozen=True)
class Completion:
    """What is used of a chat completion. `usage`: prompt, completion tokens. `tokens`: where log-probabilities came."""

    text: str | None
    finish_reason: str | None
    usage: tuple[int, int] | None
    tokens: list[Token]


class MalformedError(ValueError):
    """A response with status 200 that is no chat completion."""


def read_completion(body: Any) -> Completion:
    """The first choice of a response body. Raises MalformedError.

    >>> read_completion({"choices": [{"message": {"content": "[[3]]"}}], "usage": None}).text
    '[[3]]'
    """
    try:
        choice = body["choices"][0]
        text = choice["message"].get("content")
        usage = body.get("usage")
        counts = (int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise MalformedError(f"no chat completion: {str(body)[:80]!r}") from None
    tokens = _tokens(choice.get("logprobs"))
    return Completion(text if isinstance(text, str) else None, choice.get("finish_reason"), counts, tokens)


def _tokens(logprobs: Any) -> list[Token]:
    """Each token with its alternatives; none where a server gives none, or in a shape of its own."""
    try:
        return [(str(item["token"]), _alternatives(item)) for item in logprobs["content"]]
    except (KeyError, TypeError, AttributeError, ValueError):
        return []


def _alternatives(item: Any) -> dict[str, float]:
    """The token itself belongs to them, although it may be less likely than all that are listed."""
    listed = item.get("top_logprobs")
    return {str(one["token"]): float(one["logprob"]) for one in [*listed, item]} if listed else {}


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
