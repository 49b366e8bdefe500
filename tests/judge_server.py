"""A judge on loopback: answers OpenAI chat completions by applying the lexicon to the turn found in the prompt.

    python -m tests.judge_server --port 8001 --latency-s 0.05
    wildreward label --judge openai --judge-url http://127.0.0.1:8001/v1 --judge-model lexicon ...

Faults are drawn from the seed, the question and how often it was asked, so that a run meets the same ones in any order.
`GET /stats` tells what was asked and answered.
"""

import argparse
import asyncio
import contextlib
import hashlib
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from wildreward.judge.lexicon import read_feedback, read_refusal
from wildreward.judge.types import TurnText

_QUOTE = re.compile(r"<<< (?P<name>[^\n]+)\n(?P<text>.*?)\n>>> end of (?P=name)(?=\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Behaviour:
    """How the server answers. Fractions are of requests; the rest is answered rightly."""

    latency_s: float = 0.0
    error_frac: float = 0.0  # HTTP 500
    limit_frac: float = 0.0  # HTTP 429 with Retry-After
    retry_after_s: float = 0.05
    garbage_frac: float = 0.0  # an answer without a level
    broken_frac: float = 0.0  # HTTP 200 whose body is no JSON
    stall_frac: float = 0.0
    stall_s: float = 5.0
    max_prompt_chars: int = 0  # longer prompts get HTTP 400; 0: no bound
    api_key: str = ""  # any other key gets HTTP 401; empty: none is asked for
    model: str = ""  # any other model gets HTTP 404; empty: all are known
    status: int = 0  # answer every request with this status; 0: do not
    logprobs: bool = False
    seed: int = 0


@dataclass
class Stats:
    """What happened: requests by outcome, the most in flight at once, and questions answered more than once."""

    outcomes: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0

    def as_dict(self) -> dict[str, Any]:
        repeated = sum(count - 1 for count in self.answered.values())
        return {
            "requests": sum(self.outcomes.values()),
            "outcomes": dict(self.outcomes),
            "questions": len(self.asked),
            "answered_again": repeated,
            "most_in_flight": self.most_in_flight,
        }


def make_app(behaviour: Behaviour, stats: Stats) -> FastAPI:
    app = FastAPI()

    @app.get("/stats")
    async def get_stats() -> dict[str, Any]:
        return stats.as_dict()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        stats.in_flight += 1
        stats.most_in_flight = max(stats.most_in_flight, stats.in_flight)
        try:
            return await _answer(await request.json(), request.headers, behaviour, stats)
        finally:
            stats.in_flight -= 1

    return app


async def _answer(body: dict[str, Any], headers: Any, behaviour: Behaviour, stats: Stats) -> Response:
    prompt = "\n\n".join(message["content"] for message in body["messages"])
    question = question_id(body["messages"])
    stats.asked[question] += 1
    refusal = _refuse_request(body, headers, prompt, behaviour)
    if refusal is not None:
        stats.outcomes[f"http_{refusal.status_code}"] += 1
        return refusal
    fault = _fault(behaviour, question, stats.asked[question])
    stats.outcomes[fault or "answered"] += 1
    await asyncio.sleep(behaviour.latency_s + (behaviour.stall_s if fault == "stall" else 0.0))
    if fault == "error":
        return _error(500, "the model fell over")
    if fault == "limit":
        return _error(429, "slow down", {"Retry-After": str(behaviour.retry_after_s)})
    if fault == "broken":
        return PlainTextResponse("<html>gateway</html>")
    if fault == "garbage":
        return JSONResponse(_completion(body, prompt, "I would rather talk about the weather.", False))
    stats.answered[question] += fault != "stall"
    return JSONResponse(_completion(body, prompt, judge(prompt), behaviour.logprobs and bool(body.get("logprobs"))))


def question_id(messages: Sequence[Mapping[str, str]]) -> str:
    """The key of a question in `Stats.asked` and `Stats.answered`."""
    prompt = "\n\n".join(message["content"] for message in messages)
    return hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def judge(prompt: str) -> str:
    """The lexicon's answer to a question of wildreward.judge.prompts."""
    quoted = {match["name"]: match["text"] for match in _QUOTE.finditer(prompt)}
    follow_up = quoted.get("user's next message")
    turn = TurnText([], quoted.get("user's message", ""), quoted.get("assistant's reply", ""), follow_up or "")
    if follow_up is None:
        verdict, because = read_refusal(turn)
        return f"[[{verdict}]] {because}"
    return f"[[{read_feedback(turn).level}]] by its cues"


def _refuse_request(body: dict[str, Any], headers: Any, prompt: str, behaviour: Behaviour) -> JSONResponse | None:
    if behaviour.status:
        return _error(behaviour.status, f"always {behaviour.status}")
    if behaviour.api_key and headers.get("authorization") != f"Bearer {behaviour.api_key}":
        return _error(401, f"Incorrect API key provided: {headers.get('authorization')}")
    if behaviour.model and body["model"] != behaviour.model:
        return _error(404, f"The model `{body['model']}` does not exist")
    if behaviour.max_prompt_chars and len(prompt) > behaviour.max_prompt_chars:
        return _error(400, "This model's maximum context length is exceeded")
    return None


def _fault(behaviour: Behaviour, question: str, nth: int) -> str:
    key = f"{behaviour.seed}/{question}/{nth}".encode()
    draw = int.from_bytes(hashlib.blake2b(key, digest_size=4).digest()) / 2**32
    for name in ("error", "limit", "garbage", "broken", "stall"):
        draw -= getattr(behaviour, f"{name}_frac")
        if draw < 0:
            return name
    return ""


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "server", "code": None}}, status, headers)


def _completion(body: dict[str, Any], prompt: str, text: str, logprobs: bool) -> dict[str, Any]:
    words = len(prompt.split()), len(text.split())
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": {"content": _logprobs(text)} if logprobs else None,
    }
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": words[0], "completion_tokens": words[1], "total_tokens": sum(words)},
    }


def _logprobs(text: str) -> list[dict[str, Any]]:
    """Three tokens, [[, the level and ]]: the level has 0.9 of the mass, its neighbour 0.1."""
    level = text[2]
    neighbour = str(int(level) - 1 if int(level) > 1 else 2)
    top = [
        {"token": level, "logprob": -0.10536, "bytes": None},
        {"token": neighbour, "logprob": -2.302585, "bytes": None},
    ]
    bracket: dict[str, Any] = {"logprob": 0.0, "bytes": None, "top_logprobs": []}
    return [{"token": "[[", **bracket}, {**top[0], "top_logprobs": top}, {"token": "]]", **bracket}]


@dataclass(frozen=True)
class Server:
    """A running server: `url` is the base URL for an OpenAI client."""

    url: str
    stats: Stats


@contextlib.contextmanager
def judge_server(behaviour: Behaviour | None = None, port: int = 0) -> Iterator[Server]:
    """The server in a thread of this process, on a free port of loopback."""
    stats = Stats()
    config = uvicorn.Config(make_app(behaviour or Behaviour(), stats), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", stats)
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(timeout=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8001)
    for item in fields(Behaviour):
        flag = f"--{item.name.replace('_', '-')}"
        if isinstance(item.default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(item.default), default=item.default)
    given = vars(parser.parse_args())
    port = given.pop("port")
    uvicorn.run(make_app(Behaviour(**given), Stats()), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
