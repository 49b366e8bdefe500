"""The scorer without transport: a wire request in, a wire answer out, limits checked. HTTP and handles share it."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve.engine import conversation_encoder, engine_of, text_encoder
from serve.schema import (
    CompareAnswer,
    ComparedPair,
    CompareRequest,
    ModelInfo,
    RequestError,
    RewardAnswer,
    RewardRequest,
    ScoreAnswer,
    ScoredItem,
    ScoredReply,
    ScoreRequest,
    with_reply,
)
from wildreward.checkpoint import fingerprint
from wildreward.errors import DataError
from wildreward.settings.serve import ServeSettings

if TYPE_CHECKING:
    from wildreward.reward_model import RewardModel, Score
    from wildreward.template import Encoded

Conversation = list[dict[str, str]]


class Admission:
    """How many scoring requests are inside; refuses the one too many at once instead of letting it wait."""

    def __init__(self, limit: int, retry_after_s: int) -> None:
        self.limit, self.retry_after_s, self.inside = limit, retry_after_s, 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Raises RequestError (503) when every slot is taken."""
        if self.inside >= self.limit:
            message = f"this replica already holds {self.limit} requests; try again after {self.retry_after_s} s"
            raise RequestError(503, "overloaded", message, retry_after_s=self.retry_after_s)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


class Scoring:
    """Answers wire requests with one model. Raises RequestError for what gets no score."""

    def __init__(self, model: "RewardModel", settings: ServeSettings) -> None:
        self.settings, self.model = settings, model
        self.engine = engine_of(model, settings)
        described = model.describe()
        known = {name: described[name] for name in ModelInfo.model_fields if name in described}
        self.info = ModelInfo(id=model_id(Path(settings.checkpoint)), too_long=settings.too_long, **known)

    async def get_reward(self, request: RewardRequest) -> RewardAnswer:
        names = [f"query[{i}]" for i in range(len(request.query))]
        scores = await self._score(
            text_encoder(self.model), request.query, names, [len(text) for text in request.query]
        )
        rewards = [score.score for score in scores]
        logs = {
            "uncertainty": [score.uncertainty for score in scores],
            "prompt_tokens_cut": [float(score.prompt_tokens_cut or 0) for score in scores],
        }
        span = self.info.num_classes - 1
        return RewardAnswer(rewards=rewards, scores=[(reward - 1) / span for reward in rewards], extra_logs=logs)

    async def score(self, request: ScoreRequest) -> ScoreAnswer:
        groups = [item.conversations() for item in request.items]
        names = [
            f"items[{i}].responses[{j}]" if item.responses else f"items[{i}].messages"
            for i, item in enumerate(request.items)
            for j in range(len(groups[i]))
        ]
        replies = iter(await self._conversations([one for group in groups for one in group], names))
        items = [ScoredItem(responses=[next(replies) for _ in group]) for group in groups]
        return ScoreAnswer(model=self.info.id, items=items)

    async def compare(self, request: CompareRequest) -> CompareAnswer:
        sides = [with_reply(pair.prompt, reply) for pair in request.pairs for reply in (pair.a, pair.b)]
        names = [f"pairs[{i}].{side}" for i in range(len(request.pairs)) for side in "ab"]
        replies = await self._conversations(sides, names)
        pairs = [
            ComparedPair(a=a, b=b, a_better=probability_better(a.score, b.score))
            for a, b in zip(replies[::2], replies[1::2], strict=True)
        ]
        return CompareAnswer(model=self.info.id, pairs=pairs)

    async def _conversations(self, conversations: list[Conversation], names: list[str]) -> list[ScoredReply]:
        sizes = [sum(len(message["content"]) for message in messages) for messages in conversations]
        scores = await self._score(conversation_encoder(self.model), conversations, names, sizes)
        return [ScoredReply.model_construct(**asdict(score)) for score in scores]

    async def _score(
        self, encode: "Callable[[Any], Encoded]", values: Sequence[Any], names: list[str], sizes: list[int]
    ) -> "list[Score]":
        self._check_sizes(names, sizes)
        encoded = await self.engine.encode(_naming(encode), list(zip(names, values, strict=True)))
        if self.settings.too_long == "reject":
            _refuse_cut(encoded, names, self.info.max_tokens)
        return await self.engine.score(encoded)

    def _check_sizes(self, names: list[str], sizes: list[int]) -> None:
        limit, chars = self.settings.max_items, self.settings.max_text_chars
        if len(names) > limit:
            where = names[limit].split("[")[0]
            raise RequestError(422, "too_many_items", f"found {len(names)} texts; at most {limit} are allowed", where)
        for name, size in zip(names, sizes, strict=True):
            if size > chars:
                raise RequestError(422, "text_too_long", f"found {size} characters; allowed are {chars}", name)


def _naming(encode: "Callable[[Any], Encoded]") -> "Callable[[tuple[str, Any]], Encoded]":
    """Turns what the template says of a conversation into a refusal that names its place in the request."""

    def encode_named(named: tuple[str, Any]) -> "Encoded":
        name, value = named
        try:
            encoded = encode(value)
        except DataError as error:
            raise RequestError(422, "invalid_field", str(error), name) from None
        if not encoded.input_ids:
            raise RequestError(422, "invalid_field", "this text has no token to score", name)
        return encoded

    return encode_named


def _refuse_cut(encoded: "Sequence[Encoded]", names: Sequence[str], max_tokens: int) -> None:
    for item, name in zip(encoded, names, strict=True):
        cut = item.prompt_tokens_cut + item.response_tokens_cut
        if cut:
            message = f"{cut} tokens more than the model's {max_tokens}; this scorer cuts nothing (too_long: reject)"
            raise RequestError(422, "too_many_tokens", message, name)


def probability_better(score_a: float, score_b: float) -> float:
    """P(A is the better reply) = sigmoid(score A - score B): 1/2 for equal scores, the odds multiply by e per class.

    >>> probability_better(2.0, 2.0), round(probability_better(3.0, 2.0), 4)
    (0.5, 0.7311)
    """
    return 1 / (1 + math.exp(score_b - score_a))


def model_id(directory: Path) -> str:
    """Directory name and 12 hex digits of a hash over all of the checkpoint's files."""
    if not directory.is_dir():
        return directory.as_posix()
    return f"{directory.resolve().name}@{fingerprint(str(directory))[:12]}"
