"""The clients: the same calls over HTTP and over the handle, retries of what passes, refusals as they are."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serve.client import AsyncHandleClient, AsyncHttpClient, HandleClient, HttpClient
from serve.patience import Retry
from serve.schema import ComparedPair, RequestError, ScoredReply
from tests.serve.conftest import LocalScorer, SlowModel, in_background
from tests.serve.test_engine import FP32_TOLERANCE, conversation
from wildreward.position import swap_check
from wildreward.reward_model import RewardModel

PAIRS = [("q", "yes", "no"), ("q", "no", "yes")]
TALKS = [conversation(words % 40 + 1, words) for words in range(150)]
"""Three pieces."""


class Caller:
    """Calls a client of either kind as code of that kind would."""

    def __init__(self, kind: str, url: str) -> None:
        self._runner = asyncio.Runner()
        made: dict[str, Callable[[], Any]] = {
            "http": lambda: HttpClient(url),
            "async http": lambda: AsyncHttpClient(url),
            "handle": HandleClient.of,
            "async handle": AsyncHandleClient.of,
        }
        self._client = made[kind]()

    def __call__(self, method: str, *arguments: Any) -> Any:
        answer = getattr(self._client, method)(*arguments)
        return self._runner.run(answer) if asyncio.iscoroutine(answer) else answer


@pytest.mark.parametrize("kind", ["http", "async http", "handle", "async handle"])
def test_the_same_calls_give_the_same_typed_answers_on_all_four_clients(
    kind: str, scorer_url: str, model: RewardModel
) -> None:
    call = Caller(kind, scorer_url)
    replies: list[ScoredReply] = call("score", TALKS)
    direct = model.score(TALKS)
    assert [reply.score for reply in replies] == pytest.approx([score.score for score in direct], abs=FP32_TOLERANCE)
    assert [reply.tokens for reply in replies] == [score.tokens for score in direct]

    first, second = call("score_replies", "q", ["yes", "no"])
    compared: list[ComparedPair] = call("compare", PAIRS)
    assert compared[0].a.score == pytest.approx(first.score, abs=FP32_TOLERANCE)
    assert compared[0].b.score == pytest.approx(second.score, abs=FP32_TOLERANCE)
    assert compared[0].a_better == pytest.approx(1 - compared[1].a_better, abs=FP32_TOLERANCE)

    encoded = [model.template.encode_text(text, model.tokenizer) for text in ("a", "b c")]
    expected = [score.score for score in model.score_encoded(encoded)]
    assert call("rewards", ["a", "b c"]) == pytest.approx(expected, abs=FP32_TOLERANCE)
    assert call("model").id == httpx2.get(f"{scorer_url}/v1/model").json()["id"]
    assert [call(name, *empty) for name, *empty in (("score", []), ("score_replies", "q", []), ("rewards", []))] == [
        [],
        [],
        [],
    ]

    with pytest.raises(RequestError) as refused:
        call("score_replies", "prompt", ["a reply", ""])
    assert (refused.value.status, refused.value.code) == (422, "invalid_field")
    assert refused.value.field == "items[0].responses[1]"


def test_the_order_in_which_two_replies_are_shown_does_not_matter(scorer_url: str) -> None:
    asked = [("q", "yes", "no"), ("q", "a " * 40, "b"), ("q", "same", "same")]
    with HttpClient(scorer_url) as scorer:
        found = swap_check(lambda pairs: [pair.a_better for pair in scorer.compare(pairs)], asked)
    assert (found.consistent, found.for_first, found.for_second) == (3, 0, 0)
    assert found.largest_gap < FP32_TOLERANCE


def test_an_overloaded_scorer_is_asked_again_after_the_wait(local_scorer: LocalScorer, slow_model: SlowModel) -> None:
    url = local_scorer(model=slow_model, max_ongoing_requests=1)
    with in_background(lambda: HttpClient(url).rewards(["first"])) as first:
        assert slow_model.running.wait(10)
        with pytest.raises(RequestError, match="overloaded"):
            HttpClient(url, retry=Retry(attempts=1)).rewards(["second"])
        threading.Timer(0.3, slow_model.go.set).start()
        second = HttpClient(url).rewards(["second"])
    assert len(first[0]) == len(second) == 1


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
