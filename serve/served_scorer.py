"""A running scorer as a scorer: `wildreward serve` by URL or by its deployment handle, and OpenRLHF-shaped servers.

Conversations go to /v1/score, where the server applies its checkpoint's template. A URL that ends with /get_reward is
taken for a server of OpenRLHF's shape ({"query": [text]} -> {"rewards": [...]}), which wants finished texts: they are
rendered here by the chat template of the tokenizer that --template names.

A bearer token comes from the environment (WILDREWARD_TOKEN) and is never written anywhere.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from serve.calls import PIECE
from serve.client import HandleClient, HttpClient, SyncClient
from serve.patience import Retry
from serve.schema import RequestError, ScoredReply
from wildreward.errors import UsageError
from wildreward.scorer import Conversation, ScorerUnavailableError, Unscored

if TYPE_CHECKING:
    from wildreward.reward_model import Score

TOKEN_ENV = "WILDREWARD_TOKEN"
REWARD_ROUTE = "/get_reward"
IN_FLIGHT = 4
"""Requests in flight from one replica."""
UNKNOWN_MODEL = (
    "the server does not say which model it runs: scores are kept by its URL; give --overwrite after it got another one"
)


@dataclass(frozen=True)
class ServedScorer:
    """Recipe of a client: a URL, or the name of a Serve application on the cluster."""

    url: str | None = None
    handle: str | None = None
    tokenizer: str | None = None
    """For a URL of OpenRLHF's shape: whose chat template renders the texts."""
    token: str | None = field(default=None, repr=False)
    attempts: int = Retry.attempts
    """At each request; a run that a missing score would cost more than the wait asks oftener."""

    @classmethod
    def of(cls, url: str | None, handle: str | None, template: str | None) -> "ServedScorer":
        """With the token of the environment. Raises UsageError where a tokenizer is missing or not used."""
        shaped = bool(url and url.rstrip("/").endswith(REWARD_ROUTE))
        if shaped and not template:
            raise UsageError(
                f"--url {url}: such a server takes finished texts; give --template TOKENIZER (directory or hub id), "
                "whose chat template renders them"
            )
        if template and not shaped:
            raise UsageError("--template: a running scorer applies its own; it is for checkpoints and /get_reward URLs")
        return cls(url and url.rstrip("/"), handle, template, os.environ.get(TOKEN_ENV) or None)

    @property
    def place(self) -> str:
        return f"--url {self.url}" if self.url else f"--handle {self.handle}"

    def client(self) -> SyncClient:
        retry = Retry(attempts=self.attempts)
        if self.url is None:
            return HandleClient.of(self.handle or "", retry=retry)
        url = self.url.removesuffix(REWARD_ROUTE) if self.tokenizer else self.url
        return HttpClient(url, self.token, retry=retry)

    def load(self) -> "LoadedServed":
        return LoadedServed(self)

    def identity(self) -> str:
        """Of the model that is served now. Raises ScorerUnavailableError when the scorer does not answer."""
        if self.tokenizer:
            named = f"{self.url} {self.tokenizer}"
            return f"url-{hashlib.blake2b(named.encode(), digest_size=16).hexdigest()}"
        info = self.info()
        named = f"{info['id']} {info['dtype']} {info['max_tokens']} {info['too_long']}"
        return f"served-{hashlib.blake2b(named.encode(), digest_size=16).hexdigest()}"

    def info(self) -> dict[str, Any]:
        """What the server says of its model. Raises ScorerUnavailableError."""
        try:
            return self.client().model().model_dump()
        except RequestError as error:
            raise ScorerUnavailableError(f"{self.place}: no scorer answers there: {error}") from error


class LoadedServed:
    """The client of one replica, shared by its threads. A text the server refuses has no score, and the reason."""

    def __init__(self, source: ServedScorer) -> None:
        self.source = source
        self._pool = ThreadPoolExecutor(IN_FLIGHT, "scoring")
        self._render = _renderer(source.tokenizer) if source.tokenizer else None

    def score(self, conversations: Sequence[Conversation]) -> "list[Score | Unscored]":
        """Raises ScorerUnavailableError when the scorer cannot be reached or fails."""
        pieces = [conversations[at : at + PIECE] for at in range(0, len(conversations), PIECE)]
        return [score for piece in self._pool.map(self._piece, pieces) for score in piece]

    def _piece(self, conversations: Sequence[Conversation]) -> "list[Score | Unscored]":
        """All at once; where one of them is refused, one by one."""
        try:
            return list(self._ask(conversations))
        except RequestError as error:
            if error.status not in {413, 422}:
                raise ScorerUnavailableError(f"{self.source.place}: {error}") from error
            if len(conversations) == 1:
                return [Unscored(f"refused_{error.code}", error.message)]
        return [score for messages in conversations for score in self._piece([messages])]

    def _ask(self, conversations: Sequence[Conversation]) -> "list[Score]":
        from wildreward.reward_model import Score

        if self._render is not None:
            rewards = self._client.rewards([self._render(messages) for messages in conversations])
            return [Score(reward) for reward in rewards]
        return [as_score(reply) for reply in self._client.score(conversations)]

    @cached_property
    def _client(self) -> SyncClient:
        return self.source.client()

    def describe(self) -> dict[str, Any]:
        where = {"url": self.source.url} if self.source.url else {"handle": self.source.handle}
        if self.source.tokenizer:
            return where | {"template": f"chat template of {self.source.tokenizer}", "note": UNKNOWN_MODEL}
        return where | self.source.info()


def as_score(reply: ScoredReply) -> "Score":
    from wildreward.reward_model import Score

    return Score(**dict(reply))


def _renderer(tokenizer_name: str) -> Any:
    from wildreward.pretrained import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_name, must_pad=False)
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError(f"--template {tokenizer_name}: the tokenizer has no chat template")
    return lambda messages: tokenizer.apply_chat_template([dict(message) for message in messages], tokenize=False)
