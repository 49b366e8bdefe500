"""What goes over the wire: requests, answers and errors of the scorer, as pydantic models (they make the OpenAPI page).

Every answer that is not 2xx is `{"error": {"code", "message", "field"}}`; `field` names the offending place in the
request (`items[2].messages[0].role`) or is null.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wildreward.errors import WildrewardError


class Wire(BaseModel):
    """Base of all wire models: unknown fields are refused, as are numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnyWire = TypeVar("AnyWire", bound=Wire)


def _unicode(text: str) -> str:
    """JSON can write half of a surrogate pair, which is no character and cannot be tokenised."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_unicode)]


class ChatMessage(Wire):
    role: Literal["system", "user", "assistant"]
    content: Text


class RewardRequest(Wire):
    """WildReward's and OpenRLHF's request. A `query` is a finished text: prompt and reply with the template applied.

    It is tokenised as it is, with the tokenizer's special tokens for a `plain` checkpoint ([CLS] text [SEP]) and
    without for a `chat` one, whose template writes them into the text. Beyond the model's max_tokens its head is cut,
    so that the reply at its end stays. Prefer `/v1/score`, which applies the checkpoint's template to conversations.
    """

    query: Annotated[list[Text], Field(min_length=1)]
    prompts: list[Any] | None = None
    """OpenRLHF sends it along; not used, the query holds the prompt."""
    labels: list[Any] | None = None
    """OpenRLHF sends it along; not used."""


class ScoreItem(Wire):
    """One conversation that ends with the reply to score, or one prompt with several replies."""

    messages: list[ChatMessage] | None = None
    prompt: Text | list[ChatMessage] | None = None
    responses: Annotated[list[Text], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        whole = self.messages is not None and self.prompt is None and self.responses is None
        parts = self.messages is None and self.prompt is not None and self.responses is not None
        if not (whole or parts):
            raise ValueError("either messages, or prompt and responses, are needed")
        return self

    def conversations(self) -> list[list[dict[str, str]]]:
        """One conversation a reply."""
        if self.messages is not None:
            return [[message.model_dump() for message in self.messages]]
        return [with_reply(self.prompt, response) for response in self.responses or ()]


class ScoreRequest(Wire):
    items: Annotated[list[ScoreItem], Field(min_length=1)]


class Pair(Wire):
    """Two replies to one prompt."""

    prompt: Text | list[ChatMessage]
    a: Text
    b: Text


class CompareRequest(Wire):
    pairs: Annotated[list[Pair], Field(min_length=1)]


class ScoredReply(Wire):
    """What the model says of one reply."""

    score: float
    """Between 1 and the number of classes."""
    probs: tuple[float, ...]
    """Of the classes 1..C, sum 1."""
    uncertainty: float
    """Standard deviation of the class distribution, in classes."""
    logit: float | None
    """The unbounded scalar of a coral head; null for other heads."""
    tokens: int
    """Tokens the model read."""
    prompt_tokens_cut: int
    response_tokens_cut: int


class ScoredItem(Wire):
    responses: list[ScoredReply]
    """In the order of the request's responses; one for an item given as messages."""


class ScoreAnswer(Wire):
    model: str
    items: list[ScoredItem]


class ComparedPair(Wire):
    a: ScoredReply
    b: ScoredReply
    a_better: float
    """Probability that A is the better reply: sigmoid(a.score - b.score)."""


class CompareAnswer(Wire):
    model: str
    pairs: list[ComparedPair]


class RewardAnswer(Wire):
    rewards: list[float]
    """The score of each query, between 1 and the number of classes."""
    scores: list[float]
    """The same between 0 and 1: (reward - 1) / (classes - 1)."""
    extra_logs: dict[str, list[float]]
    """What OpenRLHF logs beside the rewards: uncertainty and prompt_tokens_cut of each query."""


class ModelInfo(Wire):
    """GET /v1/model."""

    id: str
    """Checkpoint directory's name and a fingerprint of its files; the same in every answer."""
    architecture: str
    parameters: int
    dtype: str
    head: str
    num_classes: int
    cutpoints: list[float] | None
    temperature: float
    calibrated: bool = False
    """Whether scores go through `calibration`."""
    calibration: dict[str, Any] | None = None
    """The checkpoint's own (wildreward/calibration.py); null where it has none."""
    template: str
    max_tokens: int
    too_long: str


class ErrorBody(Wire):
    code: str
    message: str
    field: str | None = None


class ErrorAnswer(Wire):
    error: ErrorBody


class RequestError(WildrewardError):
    """A request that gets no score, with its HTTP status. Raised in a replica, and by the clients."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(status, code, message, field, retry_after_s)
        self.status, self.code, self.message = status, code, message
        self.field, self.retry_after_s = field, retry_after_s

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}" + (f" (field {self.field})" if self.field else "")

    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "field": self.field}}


def with_reply(prompt: str | Sequence[ChatMessage] | None, reply: str) -> list[dict[str, str]]:
    """A prompt (text of one user message, or messages) and a reply as one conversation."""
    if isinstance(prompt, str):
        before = [{"role": "user", "content": prompt}]
    else:
        before = [message.model_dump() for message in prompt or ()]
    return [*before, {"role": "assistant", "content": reply}]


CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field", "too_short": "empty_list"}


def refusal_of(errors: Sequence[Any]) -> RequestError:
    """The first of pydantic's errors as a refusal. The offending value is not repeated: it may be long or private."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return RequestError(400, "malformed_json", "the body is not valid JSON")
    message = first["msg"].removeprefix("Value error, ")
    return RequestError(422, CODES.get(first["type"], "invalid_field"), message, field_path(first["loc"]))


def field_path(loc: Sequence[int | str]) -> str | None:
    """pydantic's location as it would be written in code, or None for the body as a whole.

    >>> field_path(("body", "items", 2, "messages", 0, "role"))
    'items[2].messages[0].role'
    """
    # "body" is FastAPI's; the branches of a union are named like types: "list[ChatMessage]", "function-after[...]"
    parts = [part for part in loc if isinstance(part, int) or not (part == "body" or "[" in part)]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return path.lstrip(".") or None


def parse(model: type[AnyWire], payload: Any) -> AnyWire:
    """Validate a payload that came over a handle. Raises RequestError like the HTTP route."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise refusal_of(error.errors(include_url=False, include_input=False)) from None
