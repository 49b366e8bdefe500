"""What the clients send, how they read an answer, and when they try again; the same over HTTP and over a handle."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from serve.schema import CompareAnswer, ComparedPair, ErrorAnswer, RequestError, ScoreAnswer, ScoredReply

Message = Mapping[str, str]
Prompt = str | Sequence[Message]

ROUTES = {"get_reward": "/get_reward", "score": "/v1/score", "compare": "/v1/compare", "model": "/v1/model"}
TRANSIENT_CODES = frozenset({"overloaded", "unavailable", "out_of_memory"})
REJECTIONS_BY_SERVE = frozenset({429, 500, 502, 503})
"""What Serve's proxy answers by itself, without our JSON: its queue is full, or the replica died under the request."""


class Retry:
    """How often and how long to wait. The server's Retry-After, where given, is the shortest wait."""

    def __init__(self, attempts: int = 5, first_wait_s: float = 0.2, longest_wait_s: float = 10.0) -> None:
        self.attempts, self.first_wait_s, self.longest_wait_s = attempts, first_wait_s, longest_wait_s

    def waits(self) -> Iterator[float]:
        for attempt in range(self.attempts - 1):
            yield min(self.first_wait_s * 2**attempt, self.longest_wait_s)

    @staticmethod
    def is_worth_it(error: RequestError) -> bool:
        return error.code in TRANSIENT_CODES


class Payloads:
    """What is sent and how an answer is read; the same for all clients. Yields one payload per piece of the input."""

    pieces_of: int = 64

    def _pieces(self, values: Sequence[Any]) -> Iterator[Sequence[Any]]:
        for start in range(0, len(values), self.pieces_of):
            yield values[start : start + self.pieces_of]

    def _score_payloads(self, conversations: Sequence[Sequence[Message]]) -> list[dict[str, Any]]:
        items = [{"messages": [dict(message) for message in messages]} for messages in conversations]
        return [{"items": list(piece)} for piece in self._pieces(items)]

    def _reply_payloads(self, prompt: Prompt, replies: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"items": [{"prompt": _wire_prompt(prompt), "responses": list(piece)}]} for piece in self._pieces(replies)
        ]

    def _pair_payloads(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[dict[str, Any]]:
        items = [{"prompt": _wire_prompt(prompt), "a": a, "b": b} for prompt, a, b in pairs]
        return [{"pairs": list(piece)} for piece in self._pieces(items)]

    def _text_payloads(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        return [{"query": list(piece)} for piece in self._pieces(texts)]


def answer_of(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """The JSON of a 2xx answer. Raises RequestError for every other."""
    if status == 200:
        return json.loads(body)
    wait = headers.get("retry-after", "")
    retry_after_s = int(wait) if wait.isdigit() else None
    try:
        error = ErrorAnswer.model_validate_json(body).error
    except ValueError:
        code = "unavailable" if status in REJECTIONS_BY_SERVE else "http_error"
        raise RequestError(status, code, body[:200].decode("utf-8", "replace"), None, retry_after_s) from None
    raise RequestError(status, error.code, error.message, error.field, retry_after_s)


def unavailable(error: Exception) -> RequestError:
    return RequestError(503, "unavailable", f"{type(error).__name__}: {error}")


@contextmanager
def handle_errors() -> Iterator[None]:
    """What a handle raises, as the HTTP clients have it: the replica's refusal, or 503 where it is gone or full."""
    from ray.exceptions import RayActorError, RayTaskError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

    try:
        yield
    except (RayActorError, BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError) as error:
        raise unavailable(error) from error
    except RayTaskError as error:
        if isinstance(error.cause, RequestError):
            raise error.cause from None
        raise


def handle_of(app_name: str) -> Any:
    """The handle of a running application. Raises RequestError when there is none."""
    from ray import serve as ray_serve
    from ray.serve.exceptions import RayServeException

    try:
        return ray_serve.get_app_handle(app_name)
    except RayServeException as error:
        raise RequestError(404, "no_scorer", f"no application {app_name} on this cluster: {error}") from None


def remote(handle: Any, route: str, payload: dict[str, Any] | None) -> Any:
    method = getattr(handle, route)
    return method.remote() if payload is None else method.remote(payload)


def auth_headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def replies_of(answers: Sequence[Any]) -> list[ScoredReply]:
    items = [item for answer in answers for item in ScoreAnswer.model_validate(answer).items]
    return [reply for item in items for reply in item.responses]


def pairs_of(answers: Sequence[Any]) -> list[ComparedPair]:
    return [pair for answer in answers for pair in CompareAnswer.model_validate(answer).pairs]


class _Rewards(BaseModel):
    """What is read of any server of OpenRLHF's shape: older ones answer nothing else."""

    rewards: list[float]


def rewards_of(answers: Sequence[Any]) -> list[float]:
    """Raises RequestError for an answer of another shape."""
    try:
        return [reward for answer in answers for reward in _Rewards.model_validate(answer).rewards]
    except ValidationError as error:
        raise RequestError(502, "unexpected_answer", str(error.errors()[0]["msg"]), "rewards") from None


def _wire_prompt(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
