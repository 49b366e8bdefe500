"""What a replica reports to Ray's Prometheus endpoint. Names, tags and units are here alone.

Ray serves each series with `ray_` before its name and, for counters, `_total` after it, tagged with application,
deployment and replica, on the metrics port of each node (`ray start --metrics-export-port`), not on the scorer's port.
"""

from functools import cache
from typing import Any

from ray.serve.metrics import Counter, Gauge, Histogram

from serve.schema import ModelInfo
from wildreward.logs import RUN_TAG, of_run

PREFIX = "wildreward_serve"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
MODEL_TAGS: Any = ("model", "head", "dtype", "template")
ROUTES = frozenset({"/", "/get_reward", "/v1/score", "/v1/compare", "/v1/model", "/v1/status", "/healthz", "/readyz"})


class ServeMetrics:
    """Series of one process."""

    def __init__(self) -> None:
        self._requests = _counter("requests", "Answers, by HTTP status", "route", "status", "transport")
        self._refused = _counter("refused", "Answers that are errors, by their code", "reason")
        self._request_s = _histogram("request_seconds", "From a request's arrival to its answer", SECONDS, "route")
        self._items = _counter("items", "Replies and texts that were scored")
        self._tokens = _counter("tokens", "Tokens of these, without padding")
        self._batch_items = _histogram("batch_items", "Replies and texts in a batch", ITEMS)
        self._batch_tokens = _histogram("batch_tokens", "Tokens of a batch, without padding", TOKENS)
        self._wait_s = _histogram("queue_wait_seconds", "How long the oldest of a batch waited for it", SECONDS)
        self._model_s = _histogram("model_seconds", "One batch in the model", SECONDS)
        self._inside = of_run(Gauge(f"{PREFIX}_in_flight", "Scoring requests inside the replica", tag_keys=(RUN_TAG,)))
        self._model = of_run(Gauge(f"{PREFIX}_model_info", "1 for the loaded model", tag_keys=(*MODEL_TAGS, RUN_TAG)))

    def request(self, path: str, status: int, seconds: float, transport: str = "http") -> None:
        route = path if path in ROUTES else "other"
        self._requests.inc(1, {"route": route, "status": str(status), "transport": transport})
        self._request_s.observe(seconds, {"route": route})

    def refusal(self, code: str) -> None:
        self._refused.inc(1, {"reason": code})

    def batch(self, items: int, tokens: int, waited_s: float, model_s: float) -> None:
        """A batch that was scored."""
        self._items.inc(items)
        self._tokens.inc(tokens)
        self._batch_items.observe(items)
        self._batch_tokens.observe(tokens)
        self._wait_s.observe(max(waited_s, 1e-6))
        self._model_s.observe(max(model_s, 1e-6))

    def inside(self, requests: int) -> None:
        self._inside.set(requests)

    def loaded(self, info: ModelInfo) -> None:
        values = (info.id, info.head, info.dtype, info.template)
        self._model.set(1, dict(zip(MODEL_TAGS, values, strict=True)))


@cache
def metrics() -> ServeMetrics:
    """This process's. In a replica to be called after Serve has said which one it is: the tags come from there."""
    return ServeMetrics()


def _counter(name: str, meaning: str, *tags: Any) -> Counter:
    return of_run(Counter(f"{PREFIX}_{name}", meaning, tag_keys=(*tags, RUN_TAG)))


def _histogram(name: str, meaning: str, edges: tuple[float, ...], *tags: Any) -> Histogram:
    return of_run(Histogram(f"{PREFIX}_{name}", meaning, boundaries=list(edges), tag_keys=(*tags, RUN_TAG)))
