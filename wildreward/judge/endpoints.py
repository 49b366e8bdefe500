"""The endpoints of a judge: which is up, which rests, which is out for good. No network here.

An endpoint that fails `FAILURES_IN_A_ROW` times without an answer between is down: it gets no question until it has
answered a sample (`judge.outages` asks it, with growing pauses). One that rejects the key or the model is out.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wildreward.errors import JudgeError
from wildreward.judge.transport import proxy_for

KEY_VARIABLE = "OPENAI_API_KEY"
FAILURES_IN_A_ROW = 10
MIN_SECRET_CHARS = 8
"""Shorter "keys" (EMPTY, none, x) are words: they are not blotted out of answers."""


@dataclass(eq=False)
class Endpoint:
    """Where to ask. `down` passes, `out` (the reason) does not."""

    url: str
    key_variable: str
    headers: dict[str, str]
    proxy: str | None = None
    in_flight: int = 0
    answers: int = 0
    failures_in_a_row: int = 0
    last_failure: str = ""
    paused_until: float = 0.0
    down: bool = False
    out: str | None = None

    @property
    def has_key(self) -> bool:
        return "Authorization" in self.headers

    @property
    def address(self) -> str:
        return f"{self.url.rstrip('/')}/chat/completions"


@dataclass
class Endpoints:
    """All of them, and the choice between them."""

    all: Sequence[Endpoint]
    secrets: Sequence[str] = ()
    clock: Callable[[], float] = field(default=time.monotonic)
    answers: int = 0
    """Answers by any endpoint, to anything."""

    @classmethod
    def from_environment(cls, urls: Sequence[str]) -> "Endpoints":
        """Keys and proxies are read here. Raises JudgeError for a key that no header can carry."""
        made, secrets = [], set()
        for place, url in enumerate(urls, 1):
            variable, key = _key(place)
            secrets.add(key)
            headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
            made.append(Endpoint(url, variable, headers, proxy_for(url)))
        return cls(made, sorted(secrets - {""}, key=len, reverse=True))

    def choose(self, avoid: Endpoint | None = None) -> Endpoint | None:
        """The least busy one that is up and not paused, another than `avoid` if there is one; None when none is."""
        now = self.clock()
        ready = [one for one in self._up() if one.paused_until <= now]
        return min(ready, key=lambda one: (one is avoid, one.in_flight), default=None)

    def pause_s(self) -> float | None:
        """Seconds until one that is up may be asked; None when none is up."""
        times = [one.paused_until for one in self._up()]
        return max(0.0, min(times) - self.clock()) if times else None

    def usable(self) -> bool:
        return any(one.out is None for one in self.all)

    def answered(self, endpoint: Endpoint) -> None:
        self.answers += 1
        endpoint.answers += 1
        endpoint.failures_in_a_row, endpoint.down = 0, False

    def failed(self, endpoint: Endpoint, detail: str) -> bool:
        """Count a failure of the passing kind; True when it takes the endpoint down."""
        endpoint.failures_in_a_row += 1
        endpoint.last_failure = detail
        falls = not endpoint.down and endpoint.failures_in_a_row >= FAILURES_IN_A_ROW
        endpoint.down = endpoint.down or falls
        return falls

    def doubt(self) -> list[Endpoint]:
        """Take down all that are up, until they have answered a sample."""
        doubted = self._up()
        for one in doubted:
            one.down = True
        return doubted

    def pause(self, endpoint: Endpoint, seconds: float) -> None:
        """It asked to be left alone for so long: a limit holds for all questions, not for one."""
        endpoint.paused_until = max(endpoint.paused_until, self.clock() + seconds)

    def reject(self, endpoint: Endpoint, why: str) -> bool:
        """Out for the rest of the run; True the first time."""
        first = endpoint.out is None
        endpoint.out = endpoint.out or why
        return first

    def status(self) -> str:
        """Each endpoint with its trouble."""
        return "; ".join(f"{one.url}: {one.out or one.last_failure or 'no answer'}" for one in self.all)

    def redact(self, text: str, shortest: int = 1) -> str:
        """Without any key, whoever repeated it."""
        for secret in self.secrets:
            if len(secret) >= shortest:
                text = text.replace(secret, "***")
        return text

    def _up(self) -> list[Endpoint]:
        return [one for one in self.all if one.out is None and not one.down]


def _key(place: int) -> tuple[str, str]:
    """(variable, key) of the endpoint at this place, from 1: its own variable, even if empty, else the common one."""
    own = f"{KEY_VARIABLE}_{place}"
    variable = own if own in os.environ else KEY_VARIABLE
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise JudgeError(f"{variable} holds characters that are no part of a key, such as a line break")
    return variable, key
