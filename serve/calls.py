"""What the clients send and how they read an answer; the same over HTTP and over a handle."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from serve.error_codes import CLIENT_CODES, SERVER_CODES
from serve.patience import TRANSIENT_STATUSES, Retry, retry_after, timed_out  # noqa: F401 Retry is published here
from serve.schema import CompareAnswer, ComparedPair, ErrorAnswer, ModelInfo, RequestError, ScoreAnswer, ScoredReply

Message = Mapping[str, str]
Prompt = str | Sequence[Message]
AnyAnswer = TypeVar("AnyAnswer", bound=BaseModel)
T = TypeVar("T")

ROUTES = {"get_reward": "/get_reward", "score": "/v1/score", "compare": "/v1/compare", "model": "/v1/model"}
PIECE = 64
"""Texts of one request."""
TRANSIENT_CODES = frozenset(
    code for code, (status, _) in (SERVER_CODES | CLIENT_CODES).items() if status in TRANSIENT_STATUSES
)
REJECTIONS_BY_SERVE = frozenset({429, 500, 502, 503})
"""What Serve's proxy answers by itself, without our JSON: its queue is full, or the replica died under the request."""


def score_payloads(conversations: Sequence[Sequence[Message]]) -> list[dict[str, Any]]:
    items = [{"messages": [dict(message) for message in messages]} for messages in conversations]
    return [{"items": list(piece)} for piece in _pieces(items)]


def reply_payloads(prompt: Prompt, replies: Sequence[str]) -> list[dict[str, Any]]:
    return [{"items": [{"prompt": _wire_prompt(prompt), "responses": list(piece)}]} for piece in _pieces(replies)]


def pair_payloads(pairs: Sequence[tuple[Prompt, str, str]]) -> list[dict[str, Any]]:
    items = [{"prompt": _wire_prompt(prompt), "a": a, "b": b} for prompt, a, b in pairs]
    return [{"pairs": list(piece)} for piece in _pieces(items)]


def text_payloads(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"query": list(piece)} for piece in _pieces(texts)]


def _pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), PIECE):
        yield values[start : start + PIECE]


def _wire_prompt(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]


def answer_of(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """The JSON of a 2xx answer. Raises RequestError for every other, and for what is no JSON."""
    if status == 200:
        try:
            return json.loads(body)
        except ValueError as broken:
            raise RequestError(502, "unexpected_answer", f"the answer is not JSON: {broken}") from None
    wait_s = retry_after(headers.get("retry-after", ""))
    try:
        error = ErrorAnswer.model_validate_json(body, extra="ignore").error
    except ValueError:
        code = "unavailable" if status in REJECTIONS_BY_SERVE else "http_error"
        status = 503 if code == "unavailable" else status
        raise RequestError(status, code, body[:200].decode("utf-8", "replace"), None, wait_s) from None
    raise RequestError(status, error.code, error.message, error.field, wait_s)


def unavailable(error: Exception) -> RequestError:
    return RequestError(503, "unavailable", f"{type(error).__name__}: {error}")


@contextmanager
def handle_errors(timeout_s: float) -> Iterator[None]:
    """What a handle raises, as the HTTP clients have it: the replica's refusal, or 503 where it is gone or full."""
    from ray.exceptions import RayActorError, RayTaskError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

    try:
        yield
    except (RayActorError, BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError) as error:
        raise unavailable(error) from error
    except TimeoutError:
        raise timed_out(timeout_s) from None
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


def replies_of(answers: Sequence[Any], count: int) -> list[ScoredReply]:
    """Raises RequestError for answers of another shape, or with more or fewer than `count` scores; as all below."""
    items = [item for answer in answers for item in _read(ScoreAnswer, answer).items]
    return _counted([reply for item in items for reply in item.responses], count)


def pairs_of(answers: Sequence[Any], count: int) -> list[ComparedPair]:
    return _counted([pair for answer in answers for pair in _read(CompareAnswer, answer).pairs], count)


class _Rewards(BaseModel):
    """What is read of any server of OpenRLHF's shape: older ones answer nothing else."""

    rewards: list[float]


def rewards_of(answers: Sequence[Any], count: int) -> list[float]:
    return _counted([reward for answer in answers for reward in _read(_Rewards, answer).rewards], count)


def model_of(answer: Any) -> ModelInfo:
    return _read(ModelInfo, answer)


def _read(model: type[AnyAnswer], answer: Any) -> AnyAnswer:
    """Fields that a newer server adds are passed over."""
    try:
        return model.model_validate(answer, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or None
        raise RequestError(502, "unexpected_answer", f"the server's answer: {first['msg']}", where) from None


def _counted(found: list[T], count: int) -> list[T]:
    if len(found) != count:
        raise RequestError(502, "unexpected_answer", f"the server answered {len(found)} results for {count} questions")
    return found
