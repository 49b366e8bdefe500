"""What happens to an HTTP request before it is parsed: token, place, size and deadline. Plain ASGI, no framework."""

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from serve.schema import RequestError
from serve.scoring import Admission
from wildreward.errors import UsageError
from wildreward.settings.serve import ServeSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = (b"content-type", b"application/json")
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""Answered without a token: they hold nothing of the model. The page asks for the token and sends it on."""


def token_digests(settings: ServeSettings) -> list[str]:
    """sha256 of every accepted bearer token; replicas are given these, never the tokens. Raises UsageError."""
    tokens = [token.strip() for token in os.environ.get(settings.token_env, "").split(",")]
    if settings.token_file is not None:
        try:
            tokens += Path(settings.token_file).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--token-file {settings.token_file}: {error}") from None
        if not any(tokens):
            raise UsageError(f"--token-file {settings.token_file}: it holds no token")
    return [hashlib.sha256(token.encode()).hexdigest() for token in tokens if token]


def accepted(authorization: str, digests: Sequence[str]) -> bool:
    """Whether a header is `Bearer TOKEN` with an accepted token. Every digest is compared, each in constant time.

    >>> digests = [hashlib.sha256(b"secret").hexdigest()]
    >>> accepted("Bearer secret", digests), accepted("Bearer other", digests), accepted("secret", digests)
    (True, False, False)
    """
    scheme, _, token = authorization.partition(" ")
    found = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
    matches = [hmac.compare_digest(found, digest) for digest in digests]
    return scheme.lower() == "bearer" and any(matches)


class Guard:
    """ASGI middleware: 401, 503, 413 and 504 as JSON, and a body that the app finds already read."""

    def __init__(self, app: Any, settings: ServeSettings, digests: Sequence[str], admission: Admission) -> None:
        self.app, self.settings, self.digests, self.admission = app, settings, list(digests), admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                await self._pass(scope, receive, sending)
        except TimeoutError:
            message = f"no answer within {self.settings.request_timeout_s:g} s"
            if not started:
                await send_refusal(send, RequestError(504, "deadline_exceeded", message))
        except RequestError as refusal:
            await send_refusal(send, refusal)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self.digests and scope["path"] not in OPEN_PATHS:
            authorization = headers.get(b"authorization", b"").decode("utf-8", "surrogateescape")
            if not accepted(authorization, self.digests):
                raise RequestError(401, "unauthorized", "a valid bearer token is needed")
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        with self.admission.slot():
            receive = await self._read(headers, receive)
            # Every body here is JSON, whatever its Content-Type says: curl -d and some reward clients say otherwise.
            scope["headers"] = [*((name, value) for name, value in headers.items() if name != b"content-type"), JSON]
            await self.app(scope, receive, send)

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """The whole body within the limit, to be received by the app as one message."""
        limit = self.settings.max_body_bytes
        declared = headers.get(b"content-length", b"0")
        body = bytearray()
        more = True
        while more:
            if len(body) > limit or (declared.isdigit() and int(declared[:20]) > limit):
                raise RequestError(413, "body_too_large", f"at most {limit} bytes are allowed")
            message = await receive()
            body += message.get("body", b"")
            more = message["type"] == "http.request" and message.get("more_body", False)
        if len(body) > limit:
            raise RequestError(413, "body_too_large", f"at most {limit} bytes are allowed")
        return _replay(bytes(body), receive)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return replayed


async def send_refusal(send: Send, refusal: RequestError) -> None:
    body = json.dumps(refusal.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    if refusal.status == 401:  # RFC 9110, 11.6.1: the answer names the scheme
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
