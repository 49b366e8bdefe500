"""An HTTP/1.1 server for tests and benchmarks, on asyncio alone: a framework would be slower than what is measured.

Bodies come with a Content-Length; a connection is kept until its client closes it.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """Header names are in lower case. `arrived`: when its last byte had come, on the loop's clock. `peer`: the port of
    the client's end of the connection."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    arrived: float
    peer: int


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Reply]]


def json_reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | dict(headers or {}))


class _Connection(asyncio.Protocol):
    """One client connection: its requests are answered one after the other."""

    def __init__(self, handler: Handler, open_ones: "set[_Connection]") -> None:
        self._handler, self._open = handler, open_ones
        self._buffer = b""
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answering is None:
            self._next()

    def _next(self) -> None:
        self._answering = None
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        method, target, _ = first.split(" ")
        self._buffer = rest[size:]
        loop = asyncio.get_running_loop()
        peer = self.transport.get_extra_info("peername")[1]
        request = Request(method, target, headers, rest[:size], loop.time(), peer)
        self._answering = loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        reply = await self._handler(request)
        lines = [f"HTTP/1.1 {reply.status} -", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        self.transport.write("\r\n".join([*lines, "\r\n"]).encode("latin-1") + reply.body)
        self._next()


async def serve(handler: Handler, port: int, ready: Callable[[int], None], stop: "asyncio.Event | None" = None) -> None:
    """Serve on loopback until `stop` is set; `ready` is told the port. What is in flight at the end is cut off."""
    connections: set[_Connection] = set()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(handler, connections), sock=listener, backlog=1024)
        ready(listener.getsockname()[1])
        await (stop or asyncio.Event()).wait()
        server.close()
        for connection in list(connections):
            connection.transport.abort()


@contextlib.contextmanager
def http_server(handler: Handler, port: int = 0) -> Iterator[int]:
    """The server in a thread of this process; the port it listens on (a free one for 0)."""
    started = threading.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def ready(bound: int) -> None:
            found["port"] = bound
            started.set()

        await serve(handler, port, ready, found["stop"])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert started.wait(30), "the server did not start"
    try:
        yield found["port"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(timeout=10)
