"""Tokens, sizes, slots and deadlines, over real HTTP; and a client that goes away."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serve.routes import http_app
from serve.scoring import Admission, Scoring
from serve.tokens import token_digests
from tests.serve.conftest import LocalScorer, SlowModel, in_background
from wildreward.errors import UsageError
from wildreward.settings.serve import ServeSettings

ONE = {"query": ["a text"]}


def digests_of(monkeypatch: pytest.MonkeyPatch, tokens: str) -> list[str]:
    monkeypatch.setenv("WILDREWARD_SERVE_TOKENS", tokens)
    return token_digests(ServeSettings(checkpoint="unused"))


def test_a_request_without_a_valid_token_gets_401_and_no_details(
    local_scorer: LocalScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = local_scorer(digests=digests_of(monkeypatch, "first, second"))
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "first"}, {"Authorization": "Basic first"}):
        for answer in (
            httpx2.post(f"{url}/get_reward", json=ONE, headers=header),
            httpx2.get(f"{url}/v1/model", headers=header),
        ):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "unauthorized"
            assert "first" not in answer.text
    for token in ("first", "second"):
        answer = httpx2.post(f"{url}/get_reward", json=ONE, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200


def test_the_page_and_the_health_routes_need_no_token(
    local_scorer: LocalScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = local_scorer(digests=digests_of(monkeypatch, "secret"))
    assert [httpx2.get(url + path).status_code for path in ("/", "/healthz", "/readyz")] == [200, 200, 200]


def test_tokens_come_from_the_environment_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKENS", "one")
    (tmp_path / "tokens").write_text("two\nthree\n")
    settings = ServeSettings(checkpoint="unused", token_env="MY_TOKENS", token_file=str(tmp_path / "tokens"))
    assert len(token_digests(settings)) == 3
    assert "one" not in str(token_digests(settings))
    with pytest.raises(UsageError, match="token-file"):
        token_digests(ServeSettings(checkpoint="unused", token_file=str(tmp_path / "absent")))


def test_a_body_beyond_the_limit_is_refused_before_it_is_parsed(local_scorer: LocalScorer) -> None:
    url = local_scorer(max_body_bytes=1024)
    chunks = (b"[" * 512 for _ in range(4))  # no Content-Length
    for answer in (
        httpx2.post(f"{url}/get_reward", content=b"[" * 2000),
        httpx2.post(f"{url}/get_reward", content=chunks),
    ):
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"


def test_one_request_too_many_is_answered_503_with_retry_after(
    local_scorer: LocalScorer, slow_model: SlowModel
) -> None:
    url = local_scorer(model=slow_model, max_ongoing_requests=1, retry_after_s=3)
    with in_background(lambda: httpx2.post(f"{url}/get_reward", json=ONE)) as first:
        assert slow_model.running.wait(10)
        answer = httpx2.post(f"{url}/get_reward", json=ONE)
        alive = httpx2.get(f"{url}/healthz")
        slow_model.go.set()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["error"]["code"] == "overloaded"
    assert answer.elapsed.total_seconds() < 0.1
    assert alive.status_code == 200
    assert first[0].status_code == 200
    assert httpx2.post(f"{url}/get_reward", json=ONE).status_code == 200


def test_past_the_deadline_the_answer_is_504_and_the_slot_is_free(
    local_scorer: LocalScorer, slow_model: SlowModel
) -> None:
    url = local_scorer(model=slow_model, max_ongoing_requests=1, request_timeout_s=0.2)
    answer = httpx2.post(f"{url}/get_reward", json=ONE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    slow_model.go.set()
    assert httpx2.post(f"{url}/get_reward", json=ONE).status_code == 200


class Counting(SlowModel):
    """Knows how many texts it was given."""

    given = 0

    @classmethod
    def of(cls, checkpoint: Path) -> "Counting":
        slow = super().of(checkpoint)
        assert isinstance(slow, cls)
        return slow

    def score_encoded(self, items: Any, *args: Any, **kwargs: Any) -> Any:
        self.given += len(items)
        return super().score_encoded(items, *args, **kwargs)


def test_what_a_client_asked_for_before_it_left_is_not_computed(checkpoint: Path) -> None:
    model = Counting.of(checkpoint)
    settings = ServeSettings(checkpoint=str(checkpoint), max_ongoing_requests=2)
    admission = Admission(2, 1)
    app = http_app(Scoring(model, settings), settings, [], admission)

    async def ask(texts: list[str], left: asyncio.Event) -> list[Any]:
        """The messages of an answer; the client leaves when the event is set."""
        body = [{"type": "http.request", "body": json.dumps({"query": texts}).encode()}]
        sent: list[Any] = []

        async def receive() -> Any:
            if not body:
                await left.wait()
            return body.pop() if body else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/get_reward", "headers": [], "query_string": b""}
        await app(scope, receive, send)
        return sent

    async def scenario() -> None:
        first = asyncio.create_task(ask(["first"], asyncio.Event()))
        await asyncio.to_thread(model.running.wait)
        left = asyncio.Event()
        second = asyncio.create_task(ask(["a", "b", "c"], left))
        while admission.inside < 2:
            await asyncio.sleep(0)
        left.set()
        assert await second == []
        assert admission.inside == 1
        model.go.set()
        assert (await first)[0]["status"] == 200
        assert (await ask(["third"], asyncio.Event()))[0]["status"] == 200

    asyncio.run(scenario())
    assert model.given == 2
    assert admission.inside == 0


def test_tokens_of_a_file_are_changed_without_a_restart(
    local_scorer: LocalScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.tokens.CHECK_S", 0)
    file = tmp_path / "tokens"
    file.write_text("first\n")
    url = local_scorer(token_file=str(file), digests=digests_of(monkeypatch, "of-the-environment"))

    def accepted() -> list[str]:
        tokens = ("first", "second", "of-the-environment")
        headers = [{"Authorization": f"Bearer {token}"} for token in tokens]
        statuses = [httpx2.get(f"{url}/v1/model", headers=header).status_code for header in headers]
        assert set(statuses) <= {200, 401}
        return [token for token, status in zip(tokens, statuses, strict=True) if status == 200]

    assert accepted() == ["first", "of-the-environment"]
    file.write_text("second\nmore\n")
    assert accepted() == ["second", "of-the-environment"]
    file.write_text("")  # never a scorer without tokens by mistake
    assert accepted() == ["second", "of-the-environment"]
    file.unlink()
    assert accepted() == ["second", "of-the-environment"]
    file.write_text("first\n")
    assert accepted() == ["first", "of-the-environment"]


def test_every_answer_of_a_replica_names_its_model(local_scorer: LocalScorer) -> None:
    url = local_scorer()
    model_id = httpx2.get(f"{url}/v1/model").json()["id"]
    asked = [
        httpx2.get(f"{url}/healthz"),
        httpx2.post(f"{url}/get_reward", json=ONE),
        httpx2.post(f"{url}/get_reward", json={}),
    ]
    assert [answer.headers["wildreward-model"] for answer in asked] == [model_id] * 3
