"""The proxy's part: Serve's own answers become our JSON, overload is refused before it reaches a replica."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serve import edge
from serve.calls import TRANSIENT_CODES, answer_of
from serve.edge import Edge, middlewares
from serve.schema import RequestError

App = Callable[[Any, Any, Any], Awaitable[None]]


def answering(status: int, kind: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})
        await send({"type": "http.response.body", "body": body})

    return app


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """What Serve's proxy does when a replica dies under a request."""


async def ask(app: Any, path: str = "/v1/score", receive: Any = None) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "path": path, "method": "POST"}, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(
    ("app", "status", "code", "wait_s"),
    [
        (answering(503, b"text/plain", b"Request dropped", (b"retry-after", b"2")), 503, "overloaded", 2),
        (answering(503, b"text/plain; charset=utf-8", b"Deployment failed"), 503, "overloaded", None),
        (answering(408, b"text/plain", b"Request timed out after 3s."), 504, "deadline_exceeded", None),
        (answering(500, b"text/plain", b"Internal Server Error"), 503, "unavailable", None),
        (answering(404, b"text/plain", b"Path not found"), 404, "not_found", None),
        (silent, 503, "unavailable", 0),
    ],
)
def test_what_serve_answers_itself_is_our_json(app: App, status: int, code: str, wait_s: int | None) -> None:
    found, headers, body = asyncio.run(ask(Edge(app)))
    assert headers["content-type"] == "application/json"
    with pytest.raises(RequestError) as error:
        answer_of(found, headers, body)
    assert (error.value.status, error.value.code, error.value.retry_after_s) == (status, code, wait_s)
    assert (code in TRANSIENT_CODES) == (status == 503)


def test_a_replicas_answer_and_other_applications_pass_as_they_are() -> None:
    own = json.dumps({"error": {"code": "overloaded", "message": "full", "field": None}}).encode()
    for app, path in (
        (answering(200, b"application/json", b"{}", (b"x", b"y")), "/v1/score"),
        (answering(503, b"application/json", own, (b"retry-after", b"1")), "/mine/v1/score"),
        (answering(503, b"text/plain", b"theirs"), "/theirs/ask"),
    ):
        assert asyncio.run(ask(Edge(app), path)) == asyncio.run(ask(app, path))


def test_after_a_refusal_the_proxy_refuses_what_is_beyond_the_requests_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(edge.time, "monotonic", lambda: now)
    asked = 0

    async def scenario() -> None:
        nonlocal now
        free = asyncio.Event()

        async def replica(scope: Any, receive: Any, send: Any) -> None:  # two places
            nonlocal asked
            asked += 1
            status = 200 if asked <= 2 or free.is_set() else 503
            if status == 200:
                await free.wait()
            headers = (b"retry-after", b"3")
            await answering(status, b"application/json", b"{}", *([headers] if status == 503 else []))(
                scope, receive, send
            )

        proxy = Edge(replica)
        first = [asyncio.create_task(ask(proxy)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (await ask(proxy))[0] == 503
        assert asked == 3
        for _ in range(5):
            status, headers, body = await ask(proxy)
            assert (status, headers["retry-after"], json.loads(body)["error"]["code"]) == (503, "3", "overloaded")
        assert asked == 3
        assert (await ask(proxy, "/v1/model"))[0] == 503  # no scoring: always asked
        assert (await ask(proxy, "/other/v1/score"))[0] == 503  # of another application: nothing is known yet
        assert asked == 5
        now += edge.RAISE_S
        for _ in range(3):  # one of them finds out that it is still so
            assert (await ask(proxy))[0] == 503
        assert asked == 6
        free.set()
        assert [status for status, _, _ in await asyncio.gather(*first)] == [200, 200]
        assert (await ask(proxy))[0] == 200  # a place is free: admitted though the refusal is remembered
        now += edge.FORGET_S
        assert [(await ask(proxy))[0] for _ in range(3)] == [200, 200, 200]
        assert "" not in proxy._loads

    asyncio.run(scenario())


def test_made_up_paths_leave_nothing_behind() -> None:
    proxy = Edge(answering(404, b"text/plain", b"no such application"))
    for number in range(100):
        assert asyncio.run(ask(proxy, f"/{number}/v1/score"))[0] == 404
    assert not proxy._loads


def test_a_body_without_end_does_not_fill_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_BYTES", 1000)
    taken = 0

    async def proxy(scope: Any, receive: Any, send: Any) -> None:  # as Serve's: takes what comes until it is over
        nonlocal taken
        while (message := await receive())["type"] != "http.disconnect":
            taken += len(message["body"])

    async def endless() -> Any:
        return {"type": "http.request", "body": b"x" * 300, "more_body": True}

    status, _, body = asyncio.run(ask(Edge(proxy), receive=endless))
    assert (status, json.loads(body)["error"]["code"], taken) == (413, "body_too_large", 900)


def test_serve_is_told_to_use_it() -> None:
    path = edge.CONTROLLER_OPTIONS["runtime_env"]["env_vars"]["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]
    assert path == f"{middlewares.__module__}:{middlewares.__name__}"
    [middleware] = middlewares()
    assert middleware.cls is Edge
