"""A replica is killed under load, or more is asked than can be answered: nothing lost, nothing wrong, 503 at once.

At the size of a real service, with times: tests/benchmarks/serve_drills.py.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests
import pytest

from serve.calls import TRANSIENT_CODES, Retry
from serve.client import HttpClient
from serve.program import start
from tests.pipelines.label_kills import wait_for
from tests.serve.rolling import CONVERSATIONS, Answers, load, metric, replica_pids, settings_of
from tests.serve.test_engine import FP32_TOLERANCE
from wildreward.reward_model import RewardModel

APP = "drills"
PLACES = 4
MORE_MEMORY_BYTES = 64 * 2**20
"""What a replica may take up under overload; a request that waited would keep its text and its connection."""


@pytest.fixture(scope="module")
def url(scorer_url: str, checkpoint: Path) -> Iterator[str]:
    from ray import serve as ray_serve

    batches = {"batch_wait_s": 0.02, "batch_tokens": 64}
    yield start(settings_of(checkpoint, APP, max_ongoing_requests=PLACES, **batches))
    ray_serve.delete(APP)


@pytest.fixture
def direct(model: RewardModel) -> list[float]:
    return [score.score for score in model.score(CONVERSATIONS)]


def assert_right(answers: Answers, direct: list[float]) -> None:
    for turn, _, score in answers.scored:
        assert score == pytest.approx(direct[turn], abs=FP32_TOLERANCE)


def test_what_was_asked_by_a_client_that_left_is_dropped_between_two_batches(url: str) -> None:
    many = 256
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{url}/get_reward", json={"query": ["word " * 60] * many}, timeout=0.1)
    with HttpClient(url) as scorer:
        assert len(scorer.rewards(["one more"])) == 1
    wait_for(lambda: metric("requests_total", APP, status="200") >= 1, "the metrics")
    assert metric("items_total", APP) < many


def test_a_killed_replica_loses_nothing_that_is_asked_again(url: str, direct: list[float]) -> None:
    [before] = replica_pids(APP)
    with load(url, PLACES // 2, Retry(attempts=100, longest_wait_s=0.5)) as patient, load(url, 1) as impatient:
        wait_for(lambda: patient.scored and impatient.scored, "the first answers")
        os.kill(before, signal.SIGKILL)
        answered = len(patient.scored)
        wait_for(lambda: replica_pids(APP) - {before}, "another replica")
        wait_for(lambda: len(patient.scored) > answered + 20, "answers of the other replica")
    assert not patient.failed
    assert {error.code for error in impatient.failed} <= TRANSIENT_CODES
    assert {error.status for error in impatient.failed} <= {503}
    assert_right(patient, direct)
    assert_right(impatient, direct)


def test_ten_times_the_load_is_refused_and_takes_no_memory(url: str, direct: list[float]) -> None:
    [pid] = replica_pids(APP)
    with HttpClient(url) as scorer:
        scorer.score(CONVERSATIONS)
    before = psutil.Process(pid).memory_info().rss
    with load(url, 10 * PLACES) as answers:
        wait_for(lambda: len(answers.failed) > 1000, "refusals")
    assert {(error.status, error.code, error.retry_after_s) for error in answers.failed} == {(503, "overloaded", 1)}
    assert answers.scored
    assert_right(answers, direct)
    assert replica_pids(APP) == {pid}
    assert psutil.Process(pid).memory_info().rss - before < MORE_MEMORY_BYTES
    with load(url, PLACES // 2) as after:
        wait_for(lambda: len(after.scored) > 50, "answers after the overload")
    assert not after.failed
    assert_right(after, direct)
