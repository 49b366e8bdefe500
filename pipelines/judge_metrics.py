"""What `label` reports to Ray's Prometheus endpoint and dashboard while it runs. Names, tags and units are here alone.

A judge actor counts what it judges, the driver what the row pass makes. Ray serves each series with `ray_` before its
name and, for counters, `_total` after it; rates (turns judged per second) are Prometheus' `rate()` of the counters.
"""

from collections.abc import Mapping

from ray.util.metrics import Counter, Histogram

from wildreward.judge.types import RefusalVerdict, Verdict
from wildreward.logs import RUN_TAG, of_run

PREFIX = "wildreward_label"

LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper edges of the latency histogram, in seconds."""


def _counter(name: str, meaning: str, *tags: str) -> Counter:
    return of_run(Counter(f"{PREFIX}_{name}", meaning, tag_keys=(*tags, RUN_TAG)))


class JudgeMetrics:
    """Series of one judge actor; each has a WorkerId of its own, and Prometheus' `sum()` adds them up."""

    def __init__(self, judge: str) -> None:
        self._judge = {"judge": judge}
        self._seen: Mapping[str, float] = {}
        self._turns = _counter("turns_judged", "Turns that have an outcome: labelled, or error", "judge", "outcome")
        self._hits = _counter("cache_hits", "Answers taken from the judge cache", "judge", "question")
        self._requests = _counter(
            "requests", "Requests to the judge, retries and re-asks included", "judge", "question"
        )
        self._ignored = _counter("cache_files_ignored", "Files of the judge cache that could not be trusted", "judge")
        self._retries = _counter("retries", "Further tries of a question, by reason of the first", "judge", "reason")
        self._errors = _counter("errors", "Questions without an answer, by reason", "judge", "question", "reason")
        self._tokens = _counter(
            "tokens", "Tokens: prompt (of these, prefix_cached were not computed), completion", "judge", "kind"
        )
        self._latency = of_run(
            Histogram(
                f"{PREFIX}_latency_seconds",
                "From a question to its answer: waiting for a free place, retries and re-asks included",
                boundaries=list(LATENCY_S),
                tag_keys=("judge", "question", RUN_TAG),
            )
        )

    def counted(self, stats: Mapping[str, float]) -> None:
        """What only the judge itself sees, from the counters it keeps: what was added since the last time."""
        for name, count in stats.items():
            more = count - self._seen.get(name, 0)
            if name.startswith("retries_") and more > 0:
                self._retries.inc(more, self._judge | {"reason": name.removeprefix("retries_")})
            elif name == "prefix_cached_tokens" and more > 0:
                self._tokens.inc(more, self._judge | {"kind": "prefix_cached"})
            elif name == "cache_files_ignored" and more > 0:
                self._ignored.inc(more, self._judge)
            elif name == "reasks" and more > 0:
                self._retries.inc(more, self._judge | {"reason": "unparsable"})
        self._seen = dict(stats)

    def turn(self, verdict: Verdict) -> None:
        """A turn is done."""
        self._turns.inc(1, self._judge | {"outcome": "error" if verdict.level is None else "labelled"})

    def answer(self, question: str, verdict: Verdict | RefusalVerdict, seconds: float) -> None:
        """A question is answered, or has failed."""
        tags = self._judge | {"question": question}
        if verdict.error is not None:
            self._errors.inc(1, tags | {"reason": verdict.error})
        if verdict.cached:
            self._hits.inc(1, tags)
            return
        self._latency.observe(seconds, tags)
        for counter, value, more in (
            (self._requests, verdict.attempts, tags),
            (self._tokens, verdict.prompt_tokens, self._judge | {"kind": "prompt"}),
            (self._tokens, verdict.completion_tokens, self._judge | {"kind": "completion"}),
        ):
            if value:
                counter.inc(value, more)


class RowMetrics:
    """Series of the row pass."""

    def __init__(self) -> None:
        self._rows = _counter(
            "rows", "Labelled turns by what became of them: kept, or why they were dropped", "outcome"
        )

    def add(self, kept: int, dropped: Mapping[str, int]) -> None:
        for outcome, count in ({"kept": kept} | {f"dropped_{name}": n for name, n in dropped.items()}).items():
            if count:
                self._rows.inc(count, {"outcome": outcome})
