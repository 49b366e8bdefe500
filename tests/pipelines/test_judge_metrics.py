"""What each verdict adds to which series. That Ray serves them: tests/pipelines/test_label_cache.py."""

from collections import Counter as Count
from typing import Any

import pytest

from pipelines import judge_metrics
from pipelines.judge_metrics import JudgeMetrics, RowMetrics
from wildreward.judge.types import RefusalVerdict, Verdict

ANSWERED = Verdict(2, None, "[[2]]", "m", "1", 3, 700, None, None, None)
FAILED = Verdict(None, None, "?", "m", "1", 2, 10, 4, "unparsable", "no level")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Count[str]:
    """Every increment and observation, as `name tag=value ...`."""
    found: Count[str] = Count()

    class Metric:
        def __init__(self, name: str, _: str, tag_keys: tuple[str, ...], boundaries: Any = None) -> None:
            self.name, self.tag_keys = name.removeprefix("wildreward_label_"), tag_keys

        def set_default_tags(self, tags: dict[str, str]) -> None:
            self.default = tags

        def inc(self, value: float, tags: dict[str, str]) -> None:
            assert {*tags, *self.default} == set(self.tag_keys)  # Ray refuses any other
            told = [f"{key}={tags[key]}" for key in self.tag_keys if key not in ("judge", *self.default)]
            found[" ".join([self.name, *told])] += int(value)

        observe = inc

    monkeypatch.setattr(judge_metrics, "Counter", Metric)
    monkeypatch.setattr(judge_metrics, "Histogram", Metric)
    return found


def test_a_verdict_counts_requests_tokens_and_latency_and_a_cached_one_a_hit_only(counted: Count[str]) -> None:
    metrics = JudgeMetrics("m")
    metrics.answer("feedback", ANSWERED, 2.0)
    metrics.answer("refusal", RefusalVerdict(0, "[[0]]", 1, 9, 9, None, None, cached=True), 3.0)
    metrics.turn(ANSWERED)
    assert counted == {
        "requests question=feedback": 3, "tokens kind=prompt": 700, "latency_seconds question=feedback": 2,
        "cache_hits question=refusal": 1, "turns_judged outcome=labelled": 1,
    }  # fmt: skip


def test_a_failure_is_an_error_with_its_reason_and_its_requests_count(counted: Count[str]) -> None:
    metrics = JudgeMetrics("m")
    metrics.answer("feedback", FAILED, 0.0)
    metrics.turn(FAILED)
    assert counted["errors question=feedback reason=unparsable"] == counted["turns_judged outcome=error"] == 1
    assert counted["requests question=feedback"] == 2


def test_what_only_the_judge_sees_is_counted_once(counted: Count[str]) -> None:
    metrics = JudgeMetrics("m")
    metrics.counted({"retries_http_429": 2, "reasks": 1, "requests": 9, "prefix_cached_tokens": 0})
    metrics.counted({"retries_http_429": 5, "reasks": 1, "requests": 12, "prefix_cached_tokens": 64})
    assert counted == {"retries reason=http_429": 5, "retries reason=unparsable": 1, "tokens kind=prefix_cached": 64}


def test_rows_are_counted_by_what_became_of_them(counted: Count[str]) -> None:
    metrics = RowMetrics()
    for _ in range(2):
        metrics.add(kept=3, dropped={"neutral": 4, "media": 0})
    assert counted == {"rows outcome=kept": 6, "rows outcome=dropped_neutral": 8}
