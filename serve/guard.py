"""What happens to an HTTP request before it is parsed: token, place, size and deadline. Plain ASGI, no framework.

A client that goes away gives its place free, and what it asked for is taken out of the queue.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from serve.metrics import metrics
from serve.schema import RequestError
from serve.scoring import Admission
from serve.tokens import Tokens
from wildreward.settings.serve import ServeSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = (b"content-type", b"application/json")
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""Answered without a token, as probes and browsers have none. /readyz tells the model's id; the page asks for one."""

MODEL_HEADER = b"wildreward-model"
"""On every answer of a replica: the id of the model that gave it, also where the body has no place for it."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left; never sent, counted in the metrics."""


class ClientGoneError(Exception):
    """The client closed its connection before it had an answer."""


class Guard:
    """ASGI middleware: 401, 503, 413 and 504 as JSON, and a body that the app finds already read."""

    def __init__(
        self, app: Any, settings: ServeSettings, digests: Sequence[str], admission: Admission, model_id: str = ""
    ) -> None:
        self.app, self.settings, self.admission = app, settings, admission
        self.tokens, self._model_id = Tokens(digests, settings.token_file), model_id.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        arrived, status = time.monotonic(), 0

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (MODEL_HEADER, self._model_id)]
            await send(message)

        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                await self._pass(scope, receive, sending)
        except TimeoutError:
            message = f"no answer within {self.settings.request_timeout_s:g} s"
            if not status:
                await send_refusal(sending, RequestError(504, "deadline_exceeded", message))
        except RequestError as refusal:
            await send_refusal(sending, refusal)
        except ClientGoneError:
            metrics().refusal("client_gone")
        finally:
            metrics().request(route_of(scope), status or CLIENT_CLOSED_REQUEST, time.monotonic() - arrived)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self.tokens.needed and route_of(scope) not in OPEN_PATHS:
            authorization = headers.get(b"authorization", b"").decode("utf-8", "surrogateescape")
            if not self.tokens.accept(authorization):
                raise RequestError(401, "unauthorized", "a valid bearer token is needed")
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        with self.admission.slot():
            body = await self._read(headers, receive)
            # Every body here is JSON, whatever its Content-Type says: curl -d and some reward clients say otherwise.
            scope["headers"] = [*((name, value) for name, value in headers.items() if name != b"content-type"), JSON]
            await _while_connected(self.app(scope, _replay(body), send), receive)

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body. Raises RequestError (413) as soon as it is, or is said to be, beyond the limit."""
        limit = self.settings.max_body_bytes
        declared = headers.get(b"content-length", b"0")
        body = bytearray()
        more = True
        while more:
            if len(body) > limit or (declared.isdigit() and int(declared[:20]) > limit):
                raise RequestError(413, "body_too_large", f"at most {limit} bytes are allowed")
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > limit:
            raise RequestError(413, "body_too_large", f"at most {limit} bytes are allowed")
        return bytes(body)


def route_of(scope: Scope) -> str:
    """The path below the application's route prefix."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


async def _while_connected(answer: Awaitable[None], receive: Receive) -> None:
    """Awaits an answer, and gives it up when the client goes away first. Raises ClientGoneError."""
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientGoneError
        answering.result()
    finally:
        leaving.cancel()
        if not answering.done():
            answering.cancel()
            await asyncio.wait((answering,))


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes) -> Receive:
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> MutableMapping[str, Any]:
        if pending:
            return pending.pop()
        return await asyncio.get_running_loop().create_future()  # a disconnect is watched for outside

    return replayed


async def send_refusal(send: Send, refusal: RequestError) -> None:
    metrics().refusal(refusal.code)
    body = json.dumps(refusal.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    if refusal.status == 401:  # RFC 9110, 11.6.1: the answer names the scheme
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
