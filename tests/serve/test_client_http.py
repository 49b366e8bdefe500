"""The HTTP clients against servers that behave badly: retries, deadlines, wrong answers, cancellation, connections."""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serve.calls import answer_of
from serve.client import AsyncHandleClient, AsyncHttpClient, HandleClient, HttpClient
from serve.patience import Attempts, Retry
from serve.schema import RequestError
from tests.http_server import Handler, Reply, Request, http_server, json_reply

QUICK = Retry(first_wait_s=0.001, longest_wait_s=0.002)


def rewarding(seen: list[Request]) -> Handler:
    """Answers each query with the number it holds, after noting the request."""

    async def handler(request: Request) -> Reply:
        seen.append(request)
        return json_reply(200, {"rewards": [float(text) for text in json.loads(request.body)["query"]]})

    return handler


def sequence(*replies: Reply) -> tuple[Handler, list[Request]]:
    """Answers in turn, the last one for good."""
    seen: list[Request] = []

    async def handler(request: Request) -> Reply:
        seen.append(request)
        return replies[min(len(seen), len(replies)) - 1]

    return handler, seen


def ask(port: int, kind: str, work: Callable[[Any], Any], **options: Any) -> Any:
    """`work(client)` with a client of either kind."""
    url = f"http://127.0.0.1:{port}"
    if kind == "sync":
        with HttpClient(url, **options) as scorer:
            return work(scorer)

    async def run() -> Any:
        async with AsyncHttpClient(url, **options) as scorer:
            return await work(scorer)

    return asyncio.run(run())


BOTH = pytest.mark.parametrize("kind", ["sync", "async"])


@BOTH
def test_a_long_list_keeps_its_order_its_connections_and_its_token(kind: str) -> None:
    seen: list[Request] = []
    numbers = list(range(1000))
    with http_server(rewarding(seen)) as port:
        got = ask(port, kind, lambda scorer: scorer.rewards([str(n) for n in numbers]), token="secret")
    assert got == numbers
    assert len(seen) == 16  # pieces of 64
    assert {request.headers["authorization"] for request in seen} == {"Bearer secret"}
    assert len({request.peer for request in seen}) <= (1 if kind == "sync" else 8)


def test_threads_share_one_client_and_its_connections() -> None:
    seen: list[Request] = []
    with http_server(rewarding(seen)) as port, HttpClient(f"http://127.0.0.1:{port}") as scorer:
        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(lambda n: scorer.rewards([str(n)]), range(200)))
        assert got == [[n] for n in range(200)]
    assert len({request.peer for request in seen}) <= 4


def test_no_more_requests_are_under_way_than_asked_for_over_all_calls_of_a_client() -> None:
    inside = most = 0
    three = asyncio.Barrier(3)

    async def handler(request: Request) -> Reply:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.wait_for(three.wait(), 30)  # so fewer than three would be noticed as well
        inside -= 1
        return json_reply(200, {"rewards": [0.0] * len(json.loads(request.body)["query"])})

    async def work(scorer: AsyncHttpClient) -> None:
        await asyncio.gather(*(scorer.rewards(["0"] * 192) for _ in range(6)))

    with http_server(handler) as port:
        ask(port, "async", work, in_flight=3)
    assert most == 3


@BOTH
@pytest.mark.parametrize(
    "refusal",
    [
        json_reply(503, {"error": {"code": "overloaded", "message": "full", "field": None}}, {"Retry-After": "0"}),
        json_reply(429, {"error": {"code": "rate_limited", "message": "slower", "field": None}}),
        Reply(500, b"Internal Server Error"),  # Serve's proxy, when the replica died under the request
        Reply(503, b"no replica"),
    ],
    ids=["overloaded", "rate limited", "replica died", "none up"],
)
def test_what_passes_is_tried_again(kind: str, refusal: Reply) -> None:
    handler, seen = sequence(refusal, refusal, json_reply(200, {"rewards": [2.5]}))
    with http_server(handler) as port:
        assert ask(port, kind, lambda scorer: scorer.rewards(["a"]), retry=QUICK) == [2.5]
    assert len(seen) == 3


@BOTH
@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 504])
def test_what_does_not_pass_is_raised_at_once(kind: str, status: int) -> None:
    handler, seen = sequence(json_reply(status, {"error": {"code": "some_code", "message": "m", "field": "f"}}))
    with http_server(handler) as port, pytest.raises(RequestError) as refused:
        ask(port, kind, lambda scorer: scorer.rewards(["a"]), retry=QUICK)
    assert (refused.value.status, refused.value.code, refused.value.field) == (status, "some_code", "f")
    assert len(seen) == 1


REPLY = {"score": 2.0, "probs": [0.5, 0.5], "uncertainty": 0.1, "logit": None, "tokens": 3}
CUT = {"prompt_tokens_cut": 0, "response_tokens_cut": 0}


@BOTH
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "answer"),
        (b'{"error": "Backend request failed", "backend": "b"}', "Field required"),  # WildReward's router, HTTP 200
        (json.dumps({"model": "m", "items": [{"responses": [REPLY]}]}).encode(), "Field required"),
        (json.dumps({"model": "m", "items": [{"responses": [REPLY | CUT | {"score": None}]}]}).encode(), "number"),
        (json.dumps({"model": "m", "items": [{"responses": [REPLY | CUT | {"score": float("nan")}]}]}).encode(), "fin"),
        (json.dumps({"model": "m", "items": [{"responses": [REPLY | CUT]}]}).encode(), "1 results for 2 questions"),
        (json.dumps({"model": "m", "items": [{"responses": [REPLY | CUT] * 3}]}).encode(), "3 results for 2 questions"),
    ],
)
def test_an_answer_of_another_shape_or_count_is_an_error_and_never_a_score(kind: str, body: bytes, said: str) -> None:
    handler, seen = sequence(Reply(200, body))
    with http_server(handler) as port, pytest.raises(RequestError, match=said) as refused:
        ask(port, kind, lambda scorer: scorer.score_replies("q", ["a", "b"]), retry=QUICK)
    assert refused.value.code == "unexpected_answer"
    assert len(seen) == 1


@BOTH
def test_fields_of_a_newer_server_are_passed_over(kind: str) -> None:
    item = {"responses": [REPLY | CUT | {"new": 1}], "new": 2}
    handler, _ = sequence(json_reply(200, {"model": "m", "items": [item], "new": 3}))
    with http_server(handler) as port:
        assert ask(port, kind, lambda scorer: scorer.score_replies("q", ["a"]))[0].score == 2.0


@BOTH
def test_a_server_that_does_not_answer_in_time_is_an_error(kind: str) -> None:
    async def handler(request: Request) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    with http_server(handler) as port, pytest.raises(RequestError, match=r"no answer within 0\.05 s") as late:
        ask(port, kind, lambda scorer: scorer.rewards(["a"]), timeout_s=0.05)
    assert (late.value.status, late.value.code) == (504, "timed_out")


@BOTH
def test_an_unreachable_scorer_is_an_error(kind: str) -> None:
    with pytest.raises(RequestError, match="unavailable"):
        ask(9, kind, lambda scorer: scorer.rewards(["a"]), retry=Retry(attempts=2, first_wait_s=0.001))


def test_a_piece_that_fails_cancels_the_others_and_so_does_cancelling_the_call() -> None:
    left = threading.Semaphore(0)

    async def handler(request: Request) -> Reply:
        if json.loads(request.body)["query"][0] == "bad":
            return json_reply(422, {"error": {"code": "invalid_field", "message": "m", "field": None}})
        try:
            await asyncio.Event().wait()
        finally:
            left.release()  # the client hung up
        raise AssertionError

    async def failing(scorer: AsyncHttpClient) -> None:
        with pytest.raises(RequestError, match="invalid_field"):
            await scorer.rewards(["waits"] * 64 + ["bad"] * 64)

    async def cancelled(scorer: AsyncHttpClient) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await scorer.rewards(["waits"] * 128)

    with http_server(handler) as port:
        ask(port, "async", failing)
        ask(port, "async", cancelled)
        assert all(left.acquire(timeout=10) for _ in range(3))


class Held:
    """A handle whose answers never come."""

    def __init__(self) -> None:
        self.score, self.cancelled = self, threading.Event()

    def remote(self, payload: Any) -> "Held":
        return self

    def __await__(self) -> Any:
        yield from asyncio.get_running_loop().create_future()

    def result(self, timeout_s: float) -> Any:
        raise TimeoutError

    def cancel(self) -> None:
        self.cancelled.set()


TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def test_a_handles_request_is_cancelled_when_its_time_is_over_or_its_caller_is_gone() -> None:
    sync_handle, late, gone = Held(), Held(), Held()
    with pytest.raises(RequestError, match="timed_out"):
        HandleClient(sync_handle, timeout_s=0.01).score([TALK])

    async def run() -> None:
        with pytest.raises(RequestError, match="timed_out"):
            await AsyncHandleClient(late, timeout_s=0.01).score([TALK])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await AsyncHandleClient(gone).score([TALK])

    asyncio.run(run())
    assert [handle.cancelled.is_set() for handle in (sync_handle, late, gone)] == [True, True, True]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_up_to_a_limit_and_are_never_shorter_than_retry_after() -> None:
    attempts = Retry(attempts=6, first_wait_s=1, longest_wait_s=4).begin(Clock())
    full = RequestError(503, "overloaded", "full")
    for longest in (1, 2, 4, 4):
        assert longest / 2 <= attempts.wait_after(full) <= longest
    assert attempts.wait_after(RequestError(503, "overloaded", "full", None, 7)) == 7
    with pytest.raises(RequestError, match="overloaded"):
        attempts.wait_after(full)


def test_the_deadline_is_over_all_attempts_and_waits() -> None:
    clock = Clock()
    attempts = Attempts(Retry(attempts=100, deadline_s=10), clock)
    assert attempts.time_left(60) == 10
    clock.now = 8
    assert attempts.time_left(60) == 2
    with pytest.raises(RequestError, match="overloaded"):  # there is no time to wait as long as it asks
        attempts.wait_after(RequestError(503, "overloaded", "full", None, 5))
    clock.now = 10
    with pytest.raises(RequestError, match="timed_out"):
        attempts.time_left(60)


def test_an_answer_without_our_error_shape_is_read_by_its_status() -> None:
    with pytest.raises(RequestError, match="unavailable") as refused:
        answer_of(503, {"retry-after": "2"}, b"queue full")
    assert refused.value.retry_after_s == 2
    with pytest.raises(RequestError, match="http_error"):
        answer_of(418, {}, b"<html>")
