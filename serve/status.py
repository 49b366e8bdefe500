"""What a replica knows of the load: how long its recent requests took, and how many replicas there are.

Memory is bounded: the last `KEPT` requests, of the last `WINDOW_S` seconds.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from serve.schema import Wire

KEPT = 4096
WINDOW_S = 300.0
REPLICA_CACHE_S = 1.0


class Latency(Wire):
    """Of the requests this replica scored in the last `window_s` seconds, from parsed to answered."""

    requests: int
    window_s: float
    p50_ms: float | None
    """null before the first request."""
    p95_ms: float | None


class Replicas(Wire):
    """Of the whole deployment, over all nodes."""

    running: int
    starting: int
    """Being started, updated or recovered."""
    stopping: int


class StatusAnswer(Wire):
    """GET /v1/status."""

    model: str
    replicas: Replicas | None
    """null where the app does not run in Ray Serve."""
    min_replicas: int
    max_replicas: int
    ongoing: int
    """Scoring requests inside this replica now."""
    max_ongoing_requests: int
    latency: Latency


class Latencies:
    """Durations of recent requests that got scores."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, float]] = deque(maxlen=KEPT)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Takes the time of the block, unless it raises."""
        started = self._clock()
        yield
        ended = self._clock()
        self._recent.append((ended, ended - started))

    def summary(self) -> Latency:
        oldest = self._clock() - WINDOW_S
        durations_s = [duration for ended, duration in self._recent if ended >= oldest]
        p50_ms, p95_ms = (1000 * np.quantile(durations_s, [0.5, 0.95])).tolist() if durations_s else (None, None)
        return Latency(requests=len(durations_s), window_s=WINDOW_S, p50_ms=p50_ms, p95_ms=p95_ms)


class ReplicaCounter:
    """Asks Serve's controller, at most once a second."""

    def __init__(self) -> None:
        self._found: Replicas | None = None
        self._until = 0.0

    async def count(self) -> Replicas | None:
        if time.monotonic() >= self._until:
            self._found = await asyncio.to_thread(_replicas)
            self._until = time.monotonic() + REPLICA_CACHE_S
        return self._found


def _replicas() -> Replicas | None:
    from ray import serve as ray_serve
    from ray.serve.exceptions import RayServeException

    try:
        me = ray_serve.get_replica_context()
    except RayServeException:
        return None
    app = ray_serve.status().applications.get(me.app_name)
    deployment = None if app is None else app.deployments.get(me.deployment)
    return None if deployment is None else replicas_of(deployment.replica_states)


def replicas_of(states: Any) -> Replicas:
    """Serve's replica states in three numbers.

    >>> replicas_of({"RUNNING": 2, "STARTING": 1, "UPDATING": 1})
    Replicas(running=2, starting=2, stopping=0)
    """
    counts = Counter({str(getattr(state, "value", state)): count for state, count in states.items()})
    starting = counts["STARTING"] + counts["UPDATING"] + counts["RECOVERING"] + counts["PENDING_MIGRATION"]
    return Replicas(running=counts["RUNNING"], starting=starting, stopping=counts["STOPPING"])
