"""When a client tries again, how long it waits, and when it gives up."""

import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from serve.schema import RequestError

TRANSIENT_STATUSES = frozenset({429, 503})
"""Overloaded, no replica up, a replica or a connection that was lost: scoring has no side effect, so it is repeated."""


@dataclass(frozen=True)
class Retry:
    """How often and how long to wait. The server's Retry-After, where given, is the shortest wait."""

    attempts: int = 5
    first_wait_s: float = 0.2
    """Doubled after each attempt; a random half is taken off, so that clients refused together do not return so."""
    longest_wait_s: float = 10.0
    deadline_s: float = 300.0
    """Of one request, over all attempts and waits."""

    def begin(self, clock: Callable[[], float] = time.monotonic) -> "Attempts":
        return Attempts(self, clock)


class Attempts:
    """The attempts at one request."""

    def __init__(self, retry: Retry, clock: Callable[[], float]) -> None:
        self._retry, self._clock = retry, clock
        self._made = 0
        self._ends = clock() + retry.deadline_s

    def time_left(self, at_most_s: float) -> float:
        """Seconds the next attempt may take. Raises RequestError (504, timed_out) where none are left."""
        left = self._ends - self._clock()
        if left <= 0:
            raise timed_out(self._retry.deadline_s)
        return min(left, at_most_s)

    def wait_after(self, error: RequestError) -> float:
        """Seconds to wait before the next attempt. Raises the error again where there is to be none."""
        self._made += 1
        if error.status not in TRANSIENT_STATUSES or self._made >= self._retry.attempts:
            raise error
        longest = min(self._retry.first_wait_s * 2 ** (self._made - 1), self._retry.longest_wait_s)
        wait_s = max(longest * random.uniform(0.5, 1.0), error.retry_after_s or 0)
        if self._clock() + wait_s >= self._ends:
            raise error
        return wait_s


def timed_out(after_s: float) -> RequestError:
    return RequestError(504, "timed_out", f"no answer within {after_s:g} s")


def retry_after(header: str, now: Callable[[], float] = time.time) -> int | None:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110, 10.2.3). None for anything else.

    >>> retry_after("3"), retry_after("Wed, 21 Oct 2015 07:28:00 GMT", lambda: 1445412478.0), retry_after("soon")
    (3, 2, None)
    """
    if header.isdigit():
        return int(header)
    try:
        date = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0, round(date.timestamp() - now()))
