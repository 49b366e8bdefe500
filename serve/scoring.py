"""The scorer without transport: a wire request in, a wire answer out, limits checked. HTTP and handles share it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve.engine import conversation_encoder, engine_of, text_encoder
from serve.metrics import metrics
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
from serve.status import Latencies
from wildreward.checkpoint import fingerprint
from wildreward.errors import DataError
from wildreward.fetched import is_url
from wildreward.preference import probability_better, probability_tied
from wildreward.scale import class_names
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
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        self.inside += more
        metrics().inside(self.inside)


class Scoring:
    """Answers wire requests with one model. Raises RequestError for what gets no score."""

    def __init__(self, model: "RewardModel", settings: ServeSettings) -> None:
        self.settings, self.model = settings, model
        self.engine = engine_of(model, settings)
        self.info = describe(model, settings)
        self.latencies = Latencies()
        metrics().loaded(self.info)

    async def get_reward(self, request: RewardRequest) -> RewardAnswer:
        names = [f"query[{i}]" for i in range(len(request.query))]
        queries = [one if isinstance(one, str) else [dict(message) for message in one] for one in request.query]
        of_text, of_messages = text_encoder(self.model), conversation_encoder(self.model)
        with self.latencies.timed():
            scores = await self._score(
                lambda query: (of_text if isinstance(query, str) else of_messages)(query),
                queries,
                names,
                [_size(query) for query in queries],
            )
        rewards = [score.score for score in scores]
        logs = {
            "uncertainty": [score.uncertainty for score in scores],
            "prompt_tokens_cut": [float(score.prompt_tokens_cut or 0) for score in scores],
            "response_tokens_cut": [float(score.response_tokens_cut or 0) for score in scores],
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
            ComparedPair(
                a=a, b=b, a_better=probability_better(a.probs, b.probs), tied=probability_tied(a.probs, b.probs)
            )
            for a, b in zip(replies[::2], replies[1::2], strict=True)
        ]
        return CompareAnswer(model=self.info.id, pairs=pairs)

    async def _conversations(self, conversations: list[Conversation], names: list[str]) -> list[ScoredReply]:
        with self.latencies.timed():
            sizes = list(map(_size, conversations))
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
            message, field = _place_of(str(error), name)
            raise RequestError(422, "invalid_field", message, field) from None
        if not encoded.input_ids:
            raise RequestError(422, "invalid_field", "this text has no token to score", name)
        return encoded

    return encode_named


def _place_of(message: str, name: str) -> tuple[str, str]:
    """What is wrong, and where: the message within a conversation, where the request gave messages.

    >>> _place_of("messages[1].content: the reply to score is empty", "items[0].messages")
    ('the reply to score is empty', 'items[0].messages[1].content')
    >>> _place_of("messages[1].content: the reply to score is empty", "items[0].responses[2]")
    ('the reply to score is empty', 'items[0].responses[2]')
    """
    found = re.match(r"messages(?P<place>\[\d+\]\.\w+)?: (?P<what>.*)", message, re.DOTALL)
    if found is None:
        return message, name
    is_whole = name.endswith(".messages") or name.startswith("query")
    return found["what"], name + (found["place"] or "") if is_whole else name


def _refuse_cut(encoded: "Sequence[Encoded]", names: Sequence[str], max_tokens: int) -> None:
    for item, name in zip(encoded, names, strict=True):
        cut = item.prompt_tokens_cut + item.response_tokens_cut
        if cut:
            message = f"{cut} tokens more than the model's {max_tokens}; this scorer cuts nothing (too_long: reject)"
            raise RequestError(422, "too_many_tokens", message, name)


def _size(query: str | Conversation) -> int:
    """Characters of a text, or of a conversation's."""
    return len(query) if isinstance(query, str) else sum(len(message["content"]) for message in query)


def describe(model: "RewardModel", settings: ServeSettings) -> ModelInfo:
    """What GET /v1/model says. Raises CheckpointError."""
    described = model.describe()
    known = {name: described[name] for name in ModelInfo.model_fields if name in described}
    return ModelInfo(
        id=model_id(settings.checkpoint, settings.template, model.template.chat_template),
        too_long=settings.too_long,
        levels=class_names(described["num_classes"]),
        chat_template=model.template.chat_template,
        **known,
    )


def model_id(checkpoint: str, template: str | None = None, chat_source: str | None = None) -> str:
    """Directory name and 12 hex digits of a hash over all of the checkpoint's files, and the template given with it."""
    if not is_url(checkpoint) and not Path(checkpoint).is_dir():
        return checkpoint
    name = checkpoint.rstrip("/").rsplit("/", 1)[-1] if is_url(checkpoint) else Path(checkpoint).resolve().name
    return f"{name}@{fingerprint(checkpoint, template, chat_source)[:12]}"
