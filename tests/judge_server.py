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
import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tests.http_server import Reply, Request, http_server, json_reply, serve
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
    refuse_logprobs: bool = False
    logprobs: bool = False  # give them where they are asked for
    tokens: str = "[[|3|]]"  # how an answer of level 3 is cut into tokens
    poison: str = ""  # a question that holds this text always gets HTTP 500; empty: none
    rule: str = "lexicon"  # how the level is found: lexicon, or digest, which costs nothing
    seed: int = 0


@dataclass
class Stats:
    """What happened: requests by outcome, the most in flight at once, and questions answered more than once."""

    outcomes: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    first_s: float = 0.0  # when the first request came and the last answer went, on the clock of time.monotonic
    last_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        repeated = sum(count - 1 for count in self.answered.values())
        return {
            "requests": sum(self.outcomes.values()),
            "outcomes": dict(self.outcomes),
            "questions": len(self.asked),
            "answered_again": repeated,
            "most_in_flight": self.most_in_flight,
            "seconds": self.last_s - self.first_s,
        }


class JudgeHandler:
    """Answers requests as its behaviour says, which may be changed while it runs."""

    def __init__(self, behaviour: Behaviour, stats: Stats) -> None:
        self.behaviour, self.stats = behaviour, stats

    async def __call__(self, request: Request) -> Reply:
        if request.target == "/stats":
            return json_reply(200, self.stats.as_dict())
        if request.target != "/v1/chat/completions":
            return _error(404, f"nothing is at {request.target}")
        self.stats.in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self.stats.in_flight)
        self.stats.first_s = self.stats.first_s or time.monotonic()
        try:
            reply, seconds = _answer(json.loads(request.body), request.headers, self.behaviour, self.stats)
            # The latency is from the arrival on: what the server itself needs is part of it.
            await asyncio.sleep(request.arrived + seconds - asyncio.get_running_loop().time())
            return reply
        finally:
            self.stats.in_flight -= 1
            self.stats.last_s = time.monotonic()


def _answer(
    body: dict[str, Any], headers: Mapping[str, str], behaviour: Behaviour, stats: Stats
) -> tuple[Reply, float]:
    """The reply, and how many seconds after its arrival a request gets it."""
    prompt = "\n\n".join(message["content"] for message in body["messages"])
    question = question_id(body["messages"])
    stats.asked[question] += 1
    refusal = _refuse_request(body, headers, prompt, behaviour)
    if refusal is not None:
        stats.outcomes[f"http_{refusal.status}"] += 1
        return refusal, 0.0
    fault = _fault(behaviour, question, stats.asked[question])
    stats.outcomes[fault or "answered"] += 1
    faulty = _faulty_reply(fault, body, prompt, behaviour)
    if faulty is not None:
        return faulty, behaviour.latency_s
    stats.answered[question] += fault != "stall"
    style = behaviour.tokens if behaviour.logprobs and body.get("logprobs") else None
    reply = json_reply(200, _completion(body, prompt, RULES[behaviour.rule](prompt), style))
    return reply, behaviour.latency_s + (behaviour.stall_s if fault == "stall" else 0.0)


def _faulty_reply(fault: str, body: dict[str, Any], prompt: str, behaviour: Behaviour) -> Reply | None:
    if fault == "error":
        return _error(500, "the model fell over")
    if fault == "limit":
        return _error(429, "slow down", {"Retry-After": str(behaviour.retry_after_s)})
    if fault == "broken":
        return Reply(200, b"<html>gateway</html>", {"Content-Type": "text/html"})
    if fault == "garbage":
        return json_reply(200, _completion(body, prompt, "I would rather talk about the weather.", None))
    return None


def question_id(messages: Sequence[Mapping[str, str]]) -> str:
    """The key of a question in `Stats.asked` and `Stats.answered`."""
    prompt = "\n\n".join(message["content"] for message in messages)
    return hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def by_lexicon(prompt: str) -> str:
    """The lexicon's answer to a question of wildreward.judge.prompts."""
    quoted = {match["name"]: match["text"] for match in _QUOTE.finditer(prompt)}
    follow_up = quoted.get("user's next message")
    turn = TurnText([], quoted.get("user's message", ""), quoted.get("assistant's reply", ""), follow_up or "")
    if follow_up is None:
        verdict, because = read_refusal(turn)
        return f"[[{verdict}]] {because}"
    return f"[[{read_feedback(turn).level}]] by its cues"


def by_digest(prompt: str) -> str:
    """A level that depends on every character of the question and costs nothing to find: for measuring speed."""
    return f"[[{1 + zlib.crc32(prompt.encode('utf-8', 'surrogatepass')) % 5}]] by its digest"


RULES = {"lexicon": by_lexicon, "digest": by_digest}


def _refuse_request(
    body: dict[str, Any], headers: Mapping[str, str], prompt: str, behaviour: Behaviour
) -> Reply | None:
    key, longest = headers.get("authorization"), behaviour.max_prompt_chars
    refusals = (
        (behaviour.status, behaviour.status, f"always {behaviour.status}"),
        (behaviour.api_key and key != f"Bearer {behaviour.api_key}", 401, f"Incorrect API key provided: {key}"),
        (behaviour.model not in {"", body["model"]}, 404, f"The model `{body['model']}` does not exist"),
        (behaviour.refuse_logprobs and "logprobs" in body, 400, "logprobs are not supported with this model"),
        (behaviour.poison and behaviour.poison in prompt, 500, "the model fell over this one"),
        (longest and len(prompt) > longest, 400, "This model's maximum context length is exceeded"),
    )
    return next((_error(status, message) for applies, status, message in refusals if applies), None)


def _fault(behaviour: Behaviour, question: str, nth: int) -> str:
    key = f"{behaviour.seed}/{question}/{nth}".encode()
    draw = int.from_bytes(hashlib.blake2b(key, digest_size=4).digest()) / 2**32
    for name in ("error", "limit", "garbage", "broken", "stall"):
        draw -= getattr(behaviour, f"{name}_frac")
        if draw < 0:
            return name
    return ""


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    return json_reply(status, {"error": {"message": message, "type": "server", "code": None}}, headers)


def _completion(body: dict[str, Any], prompt: str, text: str, logprobs: str | None) -> dict[str, Any]:
    words = prompt.count(" ") + 1, text.count(" ") + 1
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": {"content": _logprobs(text, logprobs)} if logprobs else None,
    }
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": words[0], "completion_tokens": words[1], "total_tokens": sum(words)},
    }


def _logprobs(text: str, style: str) -> list[dict[str, Any]]:
    """The tokens of [[level]], cut as `style` shows: the level has 0.9 of the mass, its neighbour 0.1."""
    level = text[2]
    neighbour = str(int(level) - 1 if int(level) > 1 else 2)
    tokens = []
    for piece in style.split("|"):
        likely = [(piece.replace("3", level), -0.10536), (piece.replace("3", neighbour), -2.302585)]
        top = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in likely]
        sure: dict[str, Any] = {**top[0], "logprob": 0.0, "top_logprobs": []}
        tokens.append({**top[0], "top_logprobs": top} if "3" in piece else sure)
    return tokens


@dataclass(frozen=True)
class Server:
    """A running server: `url` is the base URL for an OpenAI client."""

    url: str
    handler: JudgeHandler

    @property
    def stats(self) -> Stats:
        return self.handler.stats

    def behave(self, behaviour: Behaviour) -> None:
        """Answer otherwise from now on."""
        self.handler.behaviour = behaviour


@contextlib.contextmanager
def judge_server(behaviour: Behaviour | None = None, port: int = 0) -> Iterator[Server]:
    """The server in a thread of this process, on a free port of loopback."""
    handler = JudgeHandler(behaviour or Behaviour(), Stats())
    with http_server(handler, port) as bound:
        yield Server(f"http://127.0.0.1:{bound}/v1", handler)


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
    asyncio.run(serve(JudgeHandler(Behaviour(**given), Stats()), port, lambda port: print(port, flush=True)))


if __name__ == "__main__":
    main()
