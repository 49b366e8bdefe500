"""The scorer's part of Ray Serve's HTTP proxy: Serve's own errors as our JSON, and overload refused before it costs.

Serve's proxy answers some requests itself, in plain text or not at all: its queue is full, no replica is up, the
deadline passed, a replica died under the request. Here they become the scorer's error JSON with a status that says
whether to try again. And once a replica has answered 503, this proxy refuses what comes on top of the requests it has
in flight, for a moment: a refusal here takes well under a millisecond, one by a replica competes with its model.

The proxy calls `middlewares` because RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it (see CONTROLLER_OPTIONS).
Requests of other applications pass untouched.
https://docs.ray.io/en/latest/serve/api/index.html
"""

import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.middleware import Middleware

from serve.schema import RequestError

CONTROLLER_OPTIONS = {
    "runtime_env": {
        "env_vars": {
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.edge:middlewares",
            # Requests go from proxies to replicas by gRPC, which takes less of a core than an actor call.
            "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
            # The controller looks four times a second, not ten.
            "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
        }
    }
}
"""For `serve.start`; serve/deploy.yaml says the same. Proxies inherit the controller's environment."""

SCORING = ("/get_reward", "/v1/score", "/v1/compare")
ROUTES = (*SCORING, "/v1/model", "/v1/status", "/healthz", "/readyz")

BODY_BYTES = 256 * 2**20
"""Most of a body that a proxy takes. The scorer's own limit is for the replica; without one, bodies wait here."""

RAISE_S = 1.0
"""How often a proxy lets a sixteenth more through, to find out whether the replicas are still full."""

FORGET_S = 2.0
"""How long after the last refusal of a replica a proxy lets everything through again."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


def middlewares() -> list[Middleware]:
    return [Middleware(Edge)]


class Load:
    """Requests of one application in flight through this proxy, and how many the replicas took when they were full."""

    def __init__(self) -> None:
        self.inside, self.ceiling, self.retry_after_s = 0, 0, 1
        self._refused = self._raised = -FORGET_S

    def is_forgotten(self, now: float) -> bool:
        return now - self._refused >= FORGET_S

    def admits(self, now: float) -> bool:
        if self.is_forgotten(now) or self.inside < self.ceiling:
            return True
        if now - self._raised < RAISE_S:
            return False
        self.ceiling, self._raised = self.ceiling + max(1, self.ceiling // 16), now
        return True

    def was_refused(self, now: float, among: int, retry_after_s: int) -> None:
        """A replica refused a request that was the last of `among` when it came; some may have been answered since."""
        if self.is_forgotten(now):
            self._raised = now
        self.ceiling, self.retry_after_s, self._refused = max(1, among - 1), retry_after_s, now


class Edge:
    """ASGI middleware of the proxy."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._loads: defaultdict[str, Load] = defaultdict(Load)

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        path = scope.get("path", "")
        route = next((route for route in ROUTES if path.endswith(route)), None)
        if scope["type"] != "http" or route is None:
            await self.app(scope, receive, send)
            return
        answer = Answer(send)
        if route not in SCORING:
            await self.app(scope, receive, answer.send)
            await answer.finish()
            return
        application = path.removesuffix(route)
        load = self._loads[application]
        if not load.admits(time.monotonic()):
            await answer.refuse(RequestError(503, "overloaded", "all replicas are full", None, load.retry_after_s))
            return
        load.inside += 1
        among = load.inside
        try:
            await self.app(scope, answer.bounded(receive), answer.send)
            if answer.retry_after_s is not None:
                load.was_refused(time.monotonic(), among, answer.retry_after_s)
            await answer.finish()
        finally:
            load.inside -= 1
            if not load.inside and load.is_forgotten(time.monotonic()):
                self._loads.pop(application, None)  # anybody can make up paths


class Answer:
    """What is sent back: a replica's answer as it is, Serve's own plain text as JSON, nothing at all as 503."""

    def __init__(self, send: Send) -> None:
        self._send, self._started, self._too_large = send, False, False
        self._held: tuple[int, int | None] | None = None
        """Status and wait of an answer of Serve's own, until its text is there."""
        self.retry_after_s: int | None = None
        """Of a 503 that says to come back."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            wait = headers.get(b"retry-after", b"")
            wait_s = int(wait) if wait.isdigit() else None
            if message["status"] in (429, 503):
                self.retry_after_s = wait_s
            if message["status"] in SERVES_OWN and headers.get(b"content-type", b"").startswith(b"text/plain"):
                self._held = message["status"], wait_s
                return
        if self._held is None:
            await self._send(message)
        elif not message.get("more_body", False):
            status, wait_s = self._held
            self._held = None
            text = message.get("body", b"").decode("utf-8", "replace")
            await self.refuse(RequestError(*SERVES_OWN[status], text, None, wait_s))

    def bounded(self, receive: Receive) -> Receive:
        """A body that grows beyond BODY_BYTES ends as if the client had left; it is answered 413."""
        seen = 0

        async def receiving() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen <= BODY_BYTES:
                return message
            self._too_large = True
            return {"type": "http.disconnect"}

        return receiving

    async def finish(self) -> None:
        """A replica that died, or was replaced, under the request leaves it without any answer."""
        if self._too_large and not self._started:
            await self.refuse(RequestError(413, "body_too_large", f"at most {BODY_BYTES} bytes are allowed"))
        if not self._started:
            await self.refuse(RequestError(503, "unavailable", "the replica died; nothing was scored", None, 0))

    async def refuse(self, refusal: RequestError) -> None:
        self._started = True
        body = json.dumps(refusal.body()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
        await self._send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


SERVES_OWN = {
    404: (404, "not_found"),
    408: (504, "deadline_exceeded"),
    429: (429, "overloaded"),
    500: (503, "unavailable"),
    503: (503, "overloaded"),
}
"""Serve's status, and what the scorer says instead."""
