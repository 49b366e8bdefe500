"""What can score conversations: our checkpoints now; a served URL, or any object with this one method, as well.

class Shortest:
    def score(self, conversations):
        return [Score(...) for messages in conversations]
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from wildreward.template import Message

if TYPE_CHECKING:
    from wildreward.reward_model import Score

Conversation = Sequence[Message]
ROLES = ("system", "user", "assistant")


class Scorer(Protocol):
    """Scores conversations that end with the assistant's reply, one Score each, in order."""

    def score(self, conversations: Sequence[Conversation]) -> list["Score"]: ...


class ScorerSource(Protocol):
    """A small picklable recipe of a scorer, sent to where it runs. `load` may raise CheckpointError."""

    def load(self) -> Scorer: ...


@dataclass(frozen=True)
class CheckpointScorer:
    """Recipe of a RewardModel and how it is batched; `load()` gives the loaded model."""

    checkpoint: str
    template: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    batch_tokens: int = 8192
    trust_remote_code: bool = False

    def load(self) -> "LoadedCheckpoint":
        from wildreward.reward_model import RewardModel

        model = RewardModel.load(self.checkpoint, self.device, self.dtype, self.template, self.trust_remote_code)
        return LoadedCheckpoint(model, self.batch_tokens)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A RewardModel that scores in batches of a fixed number of tokens."""

    model: Any
    batch_tokens: int

    def score(self, conversations: Sequence[Conversation]) -> list["Score"]:
        return self.model.score(conversations, self.batch_tokens)

    def describe(self) -> dict[str, Any]:
        return self.model.describe()


@dataclass(frozen=True)
class Unscored:
    """Why a conversation has no score: a reason to count by, and the detail."""

    reason: str
    detail: str = ""


def score_each(scorer: Scorer, conversations: Sequence[Conversation]) -> list["Score | Unscored"]:
    """A Score, or the reason why there is none, for each conversation, in order. Equal ones are scored once."""
    problems = [problem_of(messages) for messages in conversations]
    keys = [content_key(c) if problem is None else "" for c, problem in zip(conversations, problems, strict=True)]
    unique = {key: messages for key, messages in zip(keys, conversations, strict=True) if key}
    made = scorer.score(list(unique.values())) if unique else []
    scores = {key: _checked(score) for key, score in zip(unique, made, strict=True)}
    return [problem or scores[key] for key, problem in zip(keys, problems, strict=True)]


def _checked(score: "Score") -> "Score | Unscored":
    return score if math.isfinite(score.score) else Unscored("nan_score", f"score is {score.score}")


def content_key(messages: Conversation) -> str:
    """Content hash of a conversation: equal roles and texts, equal key."""
    text = json.dumps([(message["role"], message["content"]) for message in messages])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def problem_of(messages: Any) -> Unscored | None:
    """Why this is not a conversation with a reply to score, or None.

    >>> problem_of([{"role": "user", "content": "hi"}, {"role": "assistant", "content": " "}])
    Unscored(reason='empty_response', detail='')
    >>> problem_of([{"role": "user", "content": "hi"}]).reason
    'last_message_not_assistant'
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        return Unscored("malformed_messages", f"found {type(messages).__name__}; expected a list of messages")
    if not messages:
        return Unscored("empty_conversation")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            role = message.get("role") if isinstance(message, dict) else type(message).__name__
            return Unscored("unknown_role", f"messages[{index}]: found {role!r}; allowed are {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            return Unscored("content_not_text", f"messages[{index}]: found {type(message.get('content')).__name__}")
    if messages[-1]["role"] != "assistant":
        return Unscored("last_message_not_assistant", f"found {messages[-1]['role']!r}")
    return None if messages[-1]["content"].strip() else Unscored("empty_response")
