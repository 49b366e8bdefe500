"""Requests and tokens per minute, for a whole run: who may start when. Pure arithmetic; the clock is an argument.

The generic cell rate algorithm: each request moves a theoretical arrival time on by its share of a minute, and may
start up to `BURST_S` before it. Shares are a little longer than limit / 60 s, so that a burst is inside the limit too.
"""

from collections.abc import Sequence

BURST_S = 1.0
"""How much may be made up for at once after a lull, in seconds of the limit."""

HORIZON_S = 2.0
"""Starts are promised no further ahead than this: what a judge actor that dies had been promised is lost."""

FIRST_TOKENS_PER_BYTE = 0.25
"""Of the serialised prompt (ASCII, Chinese escaped), before any usage was reported."""


class Pace:
    """At most `per_minute` units in any minute, evenly, but for the one request that is under way at its end."""

    def __init__(self, per_minute: int) -> None:
        self._share_s = (60 + BURST_S) / per_minute
        self._arrival = 0.0

    def earliest(self, now: float) -> float:
        """When the next request may start."""
        return max(now, self._arrival - BURST_S)

    def take(self, units: float, start: float) -> None:
        """Count a request of `units` that starts at `start`."""
        self._arrival = max(self._arrival, start) + units * self._share_s

    def correct(self, units: float) -> None:
        """Units that were used beyond what was taken; below zero: that were taken and not used."""
        self._arrival += units * self._share_s


class RunLimits:
    """The limits of a run, as one queue for all its judge actors.

    >>> limits = RunLimits(requests_per_minute=61, tokens_per_minute=None)
    >>> limits.lease([10, 10, 10, 10], 0, now=100.0)
    [0.0, 0.0, 1.0, 2.0]
    >>> limits.lease([10, 10, 10], 0, now=101.0)
    [2.0]
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests = Pace(requests_per_minute) if requests_per_minute else None
        self._tokens = Pace(tokens_per_minute) if tokens_per_minute else None

    def lease(self, tokens: Sequence[int], correction: int, now: float) -> list[float]:
        """Seconds from `now` until each request may start, for as many as start soon: at least one, maybe not all.

        `tokens` are estimates, one a request; `correction` is by how much earlier ones were too low (below zero: too
        high).
        """
        if self._tokens is not None:
            self._tokens.correct(correction)
        paces = [pace for pace in (self._requests, self._tokens) if pace is not None]
        delays: list[float] = []
        for estimate in tokens:
            start = max((pace.earliest(now) for pace in paces), default=now)
            if delays and start - now > HORIZON_S:
                break
            delays.append(start - now)
            for pace in paces:
                pace.take(estimate if pace is self._tokens else 1, start)
        return delays


class TokenEstimate:
    """Tokens a request will use, learned from the usage that answers report."""

    def __init__(self, max_tokens: int) -> None:
        self._bytes = self._prompt = self._completion = self._answers = 0
        self._max_tokens = max_tokens

    def of(self, body: bytes) -> int:
        if not self._answers:
            return int(len(body) * FIRST_TOKENS_PER_BYTE) + self._max_tokens
        return int(len(body) * self._prompt / max(1, self._bytes)) + self._completion // self._answers + 1

    def learn(self, body: bytes, prompt: int, completion: int) -> None:
        self._bytes += len(body)
        self._prompt += prompt
        self._completion += completion
        self._answers += 1
