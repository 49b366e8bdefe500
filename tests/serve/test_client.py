"""The clients: the same calls over HTTP and over the handle, retries of what passes, refusals as they are."""

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from serve.calls import Retry, answer_of
from serve.client import AsyncHandleClient, AsyncHttpClient, HandleClient, HttpClient, SyncClient
from serve.schema import RequestError
from tests.serve.conftest import LocalScorer, SlowModel, in_background
from tests.serve.test_engine import FP32_TOLERANCE, conversation
from wildreward.position import swap_check
from wildreward.reward_model import RewardModel

PAIRS = [("q", "yes", "no"), ("q", "no", "yes")]


def everything(scorer: SyncClient) -> list[float]:
    """What code written for one client gets from another."""
    replies = scorer.score([conversation(words) for words in (3, 50, 9)]) + scorer.score_replies("q", ["yes", "no"])
    compared = scorer.compare(PAIRS)
    return [reply.score for reply in replies] + [pair.a_better for pair in compared] + scorer.rewards(["a", "b c"])


def test_code_written_for_the_http_client_runs_on_the_handle(scorer_url: str, model: RewardModel) -> None:
    with HttpClient(scorer_url) as scorer:
        over_http = everything(scorer)
        assert scorer.model() == HandleClient.of().model()
    assert everything(HandleClient.of()) == pytest.approx(over_http, abs=FP32_TOLERANCE)
    direct = [score.score for score in model.score([conversation(words) for words in (3, 50, 9)])]
    assert over_http[:3] == pytest.approx(direct, abs=FP32_TOLERANCE)


def test_the_order_in_which_two_replies_are_shown_does_not_matter(scorer_url: str) -> None:
    asked = [("q", "yes", "no"), ("q", "a " * 40, "b"), ("q", "same", "same")]
    with HttpClient(scorer_url) as scorer:
        found = swap_check(lambda pairs: [pair.a_better for pair in scorer.compare(pairs)], asked)
    assert (found.consistent, found.for_first, found.for_second) == (3, 0, 0)
    assert found.largest_gap < FP32_TOLERANCE


def test_the_async_clients_agree_and_send_long_lists_in_pieces(scorer_url: str, model: RewardModel) -> None:
    conversations = [conversation(words % 40 + 1, words) for words in range(150)]

    async def both() -> tuple[list[Any], list[Any]]:
        async with AsyncHttpClient(scorer_url) as scorer:
            return await scorer.score(conversations), await AsyncHandleClient.of().score(conversations)

    direct = [score.score for score in model.score(conversations)]
    for got in asyncio.run(both()):
        assert [reply.score for reply in got] == pytest.approx(direct, abs=FP32_TOLERANCE)


@pytest.mark.parametrize("over_http", [True, False])
def test_a_refusal_is_raised_with_its_code_and_field(scorer_url: str, over_http: bool) -> None:
    scorer = HttpClient(scorer_url) if over_http else HandleClient.of()
    with pytest.raises(RequestError) as refused:
        scorer.score_replies("prompt", ["a reply", ""])
    assert (refused.value.status, refused.value.code) == (422, "invalid_field")
    assert refused.value.field == "items[0].responses[1]"


def test_an_overloaded_scorer_is_asked_again_after_the_wait(local_scorer: LocalScorer, slow_model: SlowModel) -> None:
    url = local_scorer(model=slow_model, max_ongoing_requests=1)
    with in_background(lambda: HttpClient(url).rewards(["first"])) as first:
        assert slow_model.running.wait(10)
        with pytest.raises(RequestError, match="overloaded"):
            HttpClient(url, retry=Retry(attempts=1)).rewards(["second"])
        threading.Timer(0.3, slow_model.go.set).start()
        second = HttpClient(url).rewards(["second"])
    assert len(first[0]) == len(second) == 1


def test_an_unreachable_scorer_is_an_error_and_never_a_score() -> None:
    with pytest.raises(RequestError, match="unavailable"):
        HttpClient("http://127.0.0.1:9", retry=Retry(attempts=2, first_wait_s=0.01)).rewards(["a"])


def test_an_answer_without_our_error_shape_is_read_by_its_status() -> None:
    with pytest.raises(RequestError, match="unavailable") as refused:
        answer_of(503, {"retry-after": "2"}, b"queue full")
    assert refused.value.retry_after_s == 2
    with pytest.raises(RequestError, match="http_error"):
        answer_of(418, {}, b"<html>")


def test_a_killed_replica_under_load_loses_no_request_and_gives_no_wrong_score(
    scorer_url: str, model: RewardModel
) -> None:
    conversations = [conversation(words % 30 + 1, words) for words in range(40)]
    direct = [score.score for score in model.score(conversations)]
    wrong: list[float] = []
    done = threading.Event()

    def client() -> None:
        with HttpClient(scorer_url, retry=Retry(attempts=12)) as scorer:
            while not done.is_set():
                for messages, expected in zip(conversations, direct, strict=True):
                    got = scorer.score([messages])[0].score
                    if abs(got - expected) > FP32_TOLERANCE:
                        wrong.append(got)

    with in_background(client) as first, in_background(client) as second:
        try:
            with HttpClient(scorer_url, retry=Retry(attempts=12)) as scorer:
                scorer.score(conversations)
                os.kill(_replica_pid(), signal.SIGKILL)
                for _ in range(5):
                    scorer.score(conversations)
        finally:
            done.set()
    assert not wrong
    assert first == second == [None]


def _replica_pid() -> int:
    import ray
    from ray.util.state import list_actors

    address = ray.get_runtime_context().gcs_address  # this test's own cluster, where several run on the machine
    actors = list_actors(address, filters=[("state", "=", "ALIVE")], detail=True)
    return next(int(actor.pid) for actor in actors if actor.pid and "#scorer#" in (actor.name or ""))


def test_no_client_needs_torch() -> None:
    import subprocess
    import sys

    code = "import sys, serve.client; assert not {'torch', 'transformers', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
