"""Why a request failed, told apart by what to do about it: try again, wait, leave the endpoint, or give up the turn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wildreward.judge.completions import retry_after_s

PASSING_STATUS = frozenset({408, 409})
REJECTING_STATUS = frozenset({401, 402, 403, 404, 405, *range(300, 400)})
REJECTING_CODES = frozenset({"insufficient_quota"})
MAX_DETAIL_CHARS = 300


class RequestError(Exception):
    """A request without a usable answer. `reason`: a code such as timeout or http_503; `detail`: the server's words."""

    def __init__(self, reason: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.retry_after_s = reason, detail[:MAX_DETAIL_CHARS], retry_after_s


class PassingError(RequestError):
    """It may well work the next time: 408, 409, 5xx, a lost connection, a timeout, a body that is no completion."""


class LimitedError(RequestError):
    """429: the server asks for patience."""


class RejectedError(RequestError):
    """This endpoint will not do: wrong key, unknown model, wrong address, no credit, a parameter it does not know."""


class RefusedError(RequestError):
    """This one question is at fault: a context that is too long, content that is not allowed."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def failure(response: Response, logprobs_are_new: bool = False) -> RequestError:
    """What a response other than 2xx means. `logprobs_are_new`: they were asked for, and never given here before.

    >>> failure(Response(404, {}, b'{"error": {"message": "no such model"}}'))
    RejectedError('http_404', 'HTTP 404: no such model')
    >>> failure(Response(400, {}, b'{"error": {"message": "unknown: top_logprobs"}}'), True).detail
    'HTTP 400: unknown: top_logprobs (run without --judge-logprobs)'
    """
    message, codes = _said(response.body)
    status = response.status
    reason, detail = f"http_{status}", f"HTTP {status}: {message}"
    if status in REJECTING_STATUS or codes & REJECTING_CODES:
        moved = response.headers.get("Location")
        return RejectedError(reason, f"{detail}, it points to {moved}" if moved else detail)
    if logprobs_are_new and status in {400, 422} and "logprobs" in message:
        return RejectedError(reason, f"{detail[: MAX_DETAIL_CHARS - 40]} (run without --judge-logprobs)")
    if status == 429:
        return LimitedError(reason, detail, _retry_after(response.headers))
    if status in PASSING_STATUS or status >= 500:
        return PassingError(reason, detail, _retry_after(response.headers))
    return RefusedError(reason, detail)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Azure and OpenAI also give milliseconds."""
    milliseconds = retry_after_s(headers.get("Retry-After-Ms"))
    return retry_after_s(headers.get("Retry-After")) if milliseconds is None else milliseconds / 1000


def _said(body: bytes) -> tuple[str, set[str]]:
    """The message of an error body and its codes; other servers put other things where OpenAI has `error`."""
    text = body[: 8 * MAX_DETAIL_CHARS].decode("utf-8", "replace").strip()
    try:
        parsed: Any = json.loads(body)
    except ValueError:
        return text, set()
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if not isinstance(error, dict):
        return str(error), set()
    message = error.get("message") or error.get("detail") or text
    return str(message), {str(error.get(name)) for name in ("code", "type")}
