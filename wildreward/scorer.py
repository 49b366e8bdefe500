"""What can score conversations: checkpoints, callables (callable_scorer.py), running scorers (serve/served_scorer.py),
or any object with this one method.

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

from wildreward.checkpoint import CHAT, fingerprint, is_scalar, local_directory
from wildreward.errors import WildrewardError
from wildreward.template import InputTemplate, Message

if TYPE_CHECKING:
    from wildreward.reward_model import Score, TextScorer

Conversation = Sequence[Message]
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Unscored:
    """Why a conversation has no score: a reason to count by, and the detail."""

    reason: str
    detail: str = ""


class ScorerUnavailableError(WildrewardError):
    """The scorer as a whole does not answer, after its retries: asking for one text at a time would not help."""


class Scorer(Protocol):
    """Scores conversations that end with the assistant's reply: for each its Score or why there is none, in order."""

    def score(self, conversations: Sequence[Conversation]) -> Sequence["Score | Unscored"]: ...


class ScorerSource(Protocol):
    """A small picklable recipe of a scorer, sent to where it runs."""

    def load(self) -> Scorer:
        """Called once in each replica. May raise WildrewardError."""

    def identity(self) -> str:
        """What the scores depend on besides the texts, as a name for a cache. Called where the run was started."""


@dataclass(frozen=True)
class CheckpointScorer:
    """Recipe of a reward model from a directory or hub id, and how it is batched; `load()` gives the loaded model."""

    checkpoint: str
    template: str | None = None
    """A template file, or "chat" for the tokenizer's own chat template."""
    device: str = "cpu"
    dtype: str = "float32"
    batch_tokens: int = 8192
    trust_remote_code: bool = False
    calibrated: bool = True
    """Let scores go through the checkpoint's calibration, where it has one."""
    chat_source: str | None = None
    """The jinja source of --chat-template."""

    def load(self) -> "LoadedCheckpoint":
        return LoadedCheckpoint(load_checkpoint(self), self.batch_tokens)

    def identity(self) -> str:
        raw = "" if self.calibrated else "-raw"
        files = fingerprint(self.checkpoint, self.template, self.chat_source)
        return f"checkpoint-{files}-{self.dtype}{raw}"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A reward model that scores in batches of a fixed number of tokens."""

    model: "TextScorer"
    batch_tokens: int

    def score(self, conversations: Sequence[Conversation]) -> list["Score"]:
        return self.model.score(conversations, self.batch_tokens)

    def describe(self) -> dict[str, Any]:
        return self.model.describe()


def load_checkpoint(source: CheckpointScorer) -> "TextScorer":
    """An ordinal checkpoint of ours, or a scalar reward model of another maker. Raises CheckpointError."""
    from wildreward.fast_reward_model import FastRewardModel
    from wildreward.scalar_reward_model import ScalarRewardModel

    directory = local_directory(source.checkpoint)
    template, device, dtype, trusted = source.template, source.device, source.dtype, source.trust_remote_code
    model: TextScorer
    if is_scalar(directory):
        own = None if template is None or template == CHAT else InputTemplate.load(template)
        model = ScalarRewardModel.load(directory, device, dtype, own, trusted, chat_source=source.chat_source)
    else:
        model = FastRewardModel.load(
            directory, device, dtype, template, trusted, calibrated=source.calibrated, chat_source=source.chat_source
        )
    model.name = source.checkpoint
    return model


def score_each(scorer: Scorer, conversations: Sequence[Conversation]) -> list["Score | Unscored"]:
    """A Score, or the reason why there is none, for each conversation, in order. Equal ones are scored once."""
    problems = [problem_of(messages) for messages in conversations]
    keys = [content_key(c) if problem is None else "" for c, problem in zip(conversations, problems, strict=True)]
    unique = {key: messages for key, messages in zip(keys, conversations, strict=True) if key}
    made = scorer.score(list(unique.values())) if unique else []
    scores = {key: _checked(score) for key, score in zip(unique, made, strict=True)}
    return [problem or scores[key] for key, problem in zip(keys, problems, strict=True)]


def _checked(score: "Score | Unscored") -> "Score | Unscored":
    if isinstance(score, Unscored) or math.isfinite(score.score):
        return score
    return Unscored("nan_score", f"score is {score.score}")


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
