"""A judge that costs next to nothing: OpenAI chat completions over loopback, answered at once, for measuring the rest.

    python -m tests.benchmarks.loopback_judge --port 8001

Levels are drawn from a hash of the question in the shares WildReward found in WildChat (3, 14, 76, 6 and 1 percent), so
that the same turn always gets the same answer and hindsight has the work it has on real data. One asyncio protocol, and
no framework: beside a pipeline on two cores the server is part of what is measured.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

PERCENT = {1: 3, 2: 14, 3: 76, 4: 6, 5: 1}


def level_of(question: bytes) -> int:
    """The level of a question: a draw by its hash."""
    draw = int.from_bytes(hashlib.blake2b(question, digest_size=4).digest()) % 100
    for level, share in PERCENT.items():
        draw -= share
        if draw < 0:
            return level
    raise AssertionError("the shares add up to 100")


def answer(body: bytes) -> bytes:
    """The response to one request, headers and all."""
    if b"Which case is it? Answer [[0]]" in body:
        text = "[[2]] an answer, if a poor one"
    else:
        text = f"[[{level_of(body)}]] drawn by its hash"
    usage = {"prompt_tokens": len(body) // 4, "completion_tokens": 8, "total_tokens": len(body) // 4 + 8}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": None}
    head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "loopback"}
    content = json.dumps(head | {"choices": [choice], "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content) + content


class Connection(asyncio.Protocol):
    """Requests with a Content-Length, one after the other; nothing else is understood."""

    def __init__(self) -> None:
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(self._received) < end + 4 + length:
                return
            body = bytes(self._received[end + 4 : end + 4 + length])
            del self._received[: end + 4 + length]
            self._transport.write(answer(body))  # type: ignore[attr-defined] # a stream's transport


@contextlib.contextmanager
def loopback_judge() -> Iterator[str]:
    """The server in a process of its own; gives the base URL."""
    command = [sys.executable, "-m", "tests.benchmarks.loopback_judge", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8001)
    asyncio.run(serve(parser.parse_args().port))
