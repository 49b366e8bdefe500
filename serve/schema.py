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

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )


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


HELLO = "What is the capital of France?"


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class RewardRequest(Wire):
    """WildReward's and OpenRLHF's request.

    A text is tokenised as it is, with the tokenizer's special tokens for a `plain` checkpoint ([CLS] text [SEP]) and
    without for a `chat` one, whose template writes them into the text. Beyond the model's max_tokens its head is cut,
    so that the reply at its end stays. A conversation is read with the checkpoint's template, as by `/v1/score`.
    """

    model_config = _example({"query": [f"user: {HELLO} assistant: Paris."]})

    query: Annotated[list[Text | list[ChatMessage]], Field(min_length=1)]
    """Each a finished text (prompt and reply with a template applied), or a conversation that ends with the reply."""
    prompts: list[Any] | None = None
    """OpenRLHF sends it along; not used, the query holds the prompt."""
    labels: list[Any] | None = None
    """OpenRLHF sends it along; not used."""


class ScoreItem(Wire):
    """One conversation that ends with the reply to score, or one prompt with several replies."""

    messages: list[ChatMessage] | None = None
    """The conversation; or else `prompt` and `responses`."""
    prompt: Text | list[ChatMessage] | None = None
    """One user message as text, or the messages before the reply."""
    responses: Annotated[list[Text], Field(min_length=1)] | None = None
    """Replies to the prompt, each scored."""

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
    model_config = _example({"items": [{"prompt": HELLO, "responses": ["Paris.", "I do not know."]}]})

    items: Annotated[list[ScoreItem], Field(min_length=1)]


class Pair(Wire):
    """Two replies to one prompt."""

    prompt: Text | list[ChatMessage]
    a: Text
    b: Text


class CompareRequest(Wire):
    model_config = _example({"pairs": [{"prompt": HELLO, "a": "Paris.", "b": "I do not know."}]})

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
    """Probability that A is the better reply, given that their classes differ: P(class A > class B | differ)."""
    tied: float
    """Probability that both are of the same class, as far as the model can tell them apart."""


class CompareAnswer(Wire):
    model: str
    pairs: list[ComparedPair]


class RewardAnswer(Wire):
    rewards: list[float]
    """The score of each query, between 1 and the number of classes."""
    scores: list[float]
    """The same between 0 and 1: (reward - 1) / (classes - 1)."""
    extra_logs: dict[str, list[float]]
    """What OpenRLHF logs beside the rewards: uncertainty, prompt_tokens_cut and response_tokens_cut of each query."""


class ModelInfo(Wire):
    """GET /v1/model."""

    id: str
    """Checkpoint directory's name and a fingerprint of its files; the same in every answer."""
    checkpoint: str
    """Where it was loaded from."""
    architecture: str
    parameters: int
    dtype: str
    head: str
    """coral, corn or independent."""
    num_classes: int
    levels: list[str] | None
    """What the classes 1..C mean; null for a number of classes that has no names."""
    cutpoints: list[float] | None
    """Of a coral head: P(class > k) = sigmoid((logit - cutpoint k) / temperature)."""
    temperature: float
    calibrated: bool = False
    """Whether scores go through `calibration`."""
    calibration: dict[str, Any] | None = None
    """How the class probabilities were calibrated after training, as the checkpoint says; null where they were not."""
    template: str
    """How a conversation becomes text: plain role prefixes, or chat, the tokenizer's or a given chat template."""
    chat_template: str | None
    """The jinja source where the template overrides the tokenizer's own."""
    max_tokens: int
    """Tokens the model reads of a conversation."""
    too_long: str
    """What happens beyond: cut (and reported), or reject."""


class ErrorBody(Wire):
    code: str
    """Machine-readable; all are in serve/error_codes.py."""
    message: str
    field: str | None = None
    """The offending place in the request, such as items[2].messages[0].role."""


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
    """The first of pydantic's errors as a refusal. The offending value is not repeated: it may be long or private.

    Where several types are allowed pydantic has errors for each: the deepest is of the type that was meant.
    """
    first = errors[0]
    if first["type"] == "json_invalid":
        return RequestError(400, "malformed_json", "the body is not valid JSON")
    place = field_path(first["loc"]) or ""
    same = [error for error in errors if (field_path(error["loc"]) or "").startswith(place)]
    meant = max(same, key=lambda error: len(field_path(error["loc"]) or ""))
    message = meant["msg"].removeprefix("Value error, ")
    return RequestError(422, CODES.get(meant["type"], "invalid_field"), message, field_path(meant["loc"]))


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
