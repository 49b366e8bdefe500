"""Running scorers over real HTTP: ours, and one of OpenRLHF's shape that answers nothing but rewards."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from transformers import AutoTokenizer

from serve.served_scorer import ServedScorer
from wildreward.errors import UsageError, WildrewardError
from wildreward.minilm import minilm_directory
from wildreward.scorer import Unscored, score_each

TALKS = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x" * n}] for n in range(1, 151)]


class Server(BaseHTTPRequestHandler):
    """Rewards are lengths; a text with 13 letters is refused, one with 15 gets NaN. Remembers what it was sent."""

    seen: list[tuple[str | None, list[str]]]

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
        self.seen.append((self.headers.get("Authorization"), texts))
        refused = any(text.count("x") == 13 for text in texts)
        rewards = [math.nan if text.count("x") == 15 else float(text.count("x")) for text in texts]
        error = {"error": {"code": "text_too_long", "message": "thirteen"}}
        body = json.dumps(error if refused else {"rewards": rewards}).encode()
        self.send_response(422 if refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.seen = []
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}/get_reward"
    made.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    found = AutoTokenizer.from_pretrained(minilm_directory())
    found.chat_template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    found.save_pretrained(folder)
    return str(folder)


def test_a_server_of_openrlhfs_shape_is_sent_rendered_texts_and_the_token(
    server: str, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WILDREWARD_TOKEN", "secret")
    source = ServedScorer.of(server, None, tokenizer)
    assert "secret" not in repr(source)
    scores = score_each(source.load(), TALKS)
    numbers = [score.score for score in scores if not isinstance(score, Unscored)]
    assert numbers == [n for n in range(1, 151) if n not in (13, 15)]
    assert scores[12] == Unscored("refused_text_too_long", "thirteen")
    assert scores[14] == Unscored("nan_score", "score is nan")
    assert {token for token, _ in Server.seen} == {"Bearer secret"}
    assert Server.seen[0][1][0].startswith("<user>hi<assistant>x")
    assert source.identity() == ServedScorer.of(server, None, tokenizer).identity()


def test_what_a_url_needs_and_does_not_take_is_told(server: str, tokenizer: str) -> None:
    with pytest.raises(UsageError, match="give --template TOKENIZER"):
        ServedScorer.of(server, None, None)
    with pytest.raises(UsageError, match="a running scorer applies its own"):
        ServedScorer.of("http://127.0.0.1:1", None, "chat")


def test_a_scorer_that_does_not_answer_is_one_plain_error() -> None:
    nowhere = ServedScorer("http://127.0.0.1:9", attempts=1)
    with pytest.raises(WildrewardError, match=r"--url http://127\.0\.0\.1:9: no scorer answers there: 503 unavailable"):
        nowhere.identity()
    with pytest.raises(WildrewardError, match=r"--url http://127\.0\.0\.1:9: 503 unavailable"):
        nowhere.load().score(TALKS[:1])
