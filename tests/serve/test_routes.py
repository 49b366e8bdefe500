"""The routes, over real HTTP through Ray Serve: answers agree with the model asked directly, wrong requests get 4xx."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from serve.scoring import probability_better
from tests.serve.conftest import LocalScorer
from tests.serve.test_engine import FP32_TOLERANCE, conversation
from wildreward.reward_model import RewardModel


def post(url: str, route: str, payload: Any) -> Any:
    answer = httpx2.post(url + route, json=payload, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_v1_score_answers_what_the_model_says(scorer_url: str, model: RewardModel) -> None:
    prompt, replies = conversation(3)[:-1], ["yes", "no, that is wrong", "thanks " * 200]
    whole = conversation(30)
    answer = post(scorer_url, "/v1/score", {"items": [{"messages": whole}, {"prompt": prompt, "responses": replies}]})
    got = [reply for item in answer["items"] for reply in item["responses"]]
    direct = model.score([whole, *([*prompt, {"role": "assistant", "content": reply}] for reply in replies)])
    for reply, score in zip(got, direct, strict=True):
        assert reply["score"] == pytest.approx(score.score, abs=FP32_TOLERANCE)
        assert reply["probs"] == pytest.approx(score.probs, abs=FP32_TOLERANCE)
        assert reply["uncertainty"] == pytest.approx(score.uncertainty, abs=FP32_TOLERANCE)
        assert (reply["tokens"], reply["response_tokens_cut"]) == (score.tokens, score.response_tokens_cut)
    assert got[-1]["response_tokens_cut"] > 0
    assert answer["model"].startswith("tiny@")


def test_get_reward_has_the_shape_of_wildreward_and_openrlhf(scorer_url: str, model: RewardModel) -> None:
    texts = ["one text", "another " * 300]
    answer = post(scorer_url, "/get_reward", {"query": texts, "prompts": ["p", "q"], "labels": [None, "x"]})
    encoded = [model.template.encode_text(text, model.tokenizer) for text in texts]
    direct = [score.score for score in model.score_encoded(encoded)]
    assert answer["rewards"] == pytest.approx(direct, abs=FP32_TOLERANCE)
    assert answer["scores"] == pytest.approx([(score - 1) / 3 for score in direct], abs=FP32_TOLERANCE)
    assert answer["extra_logs"]["prompt_tokens_cut"] == [0, encoded[1].prompt_tokens_cut]


def test_v1_compare_gives_the_probability_that_a_is_better(scorer_url: str) -> None:
    pairs = [
        {"prompt": "q", "a": "yes", "b": "no"},
        {"prompt": "q", "a": "no", "b": "yes"},
        {"prompt": "q", "a": "x", "b": "x"},
    ]
    first, swapped, same = post(scorer_url, "/v1/compare", {"pairs": pairs})["pairs"]
    assert first["a_better"] == pytest.approx(probability_better(first["a"]["score"], first["b"]["score"]))
    assert first["a_better"] + swapped["a_better"] == pytest.approx(1, abs=FP32_TOLERANCE)
    assert same["a_better"] == pytest.approx(0.5, abs=FP32_TOLERANCE)


def test_concurrent_clients_each_get_the_scores_of_their_own_texts(scorer_url: str, model: RewardModel) -> None:
    conversations = [conversation(words, seed) for seed in range(8) for words in (1, 5, 60, 2, 17, 150, 9, 33)]
    direct = [score.score for score in model.score(conversations)]

    def one(messages: Any) -> float:
        return post(scorer_url, "/v1/score", {"items": [{"messages": messages}]})["items"][0]["responses"][0]["score"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, conversations)) == pytest.approx(direct, abs=FP32_TOLERANCE)


def test_health_model_openapi_and_page_are_there(scorer_url: str) -> None:
    assert httpx2.get(f"{scorer_url}/healthz").json() == {"status": "alive"}
    info = httpx2.get(f"{scorer_url}/v1/model").json()
    assert httpx2.get(f"{scorer_url}/readyz").json() == {"status": "ready", "model": info["id"]}
    assert (info["head"], info["num_classes"], info["template"], info["max_tokens"]) == ("coral", 4, "plain", 128)
    paths = httpx2.get(f"{scorer_url}/openapi.json").json()["paths"]
    assert {"/get_reward", "/v1/score", "/v1/compare", "/healthz", "/readyz", "/v1/model"} <= set(paths)
    page = httpx2.get(scorer_url)
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text


WRONG_BODIES = [
    ("/get_reward", b'{"query": ["a"', 400, "malformed_json"),
    ("/get_reward", b"", 422, None),
    ("/get_reward", b'{"query": ["\\ud800"]}', 422, "invalid_field"),
    ("/get_reward", b'{"query": [NaN]}', 422, "invalid_field"),
    ("/get_reward", b"\xff\xfe", 400, "malformed_json"),
    ("/get_reward", b"[" * 100_000, 400, "malformed_json"),
    ("/get_reward", b'{"query": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
    ("/get_reward", b'{"query": ["a"], "query_": 1}', 422, "unknown_field"),
    ("/v1/score", b'{"items": [{"messages": []}]}', 422, "invalid_field"),
    ("/v1/score", b'{"items": [{"messages": [{"role": "user", "content": "a"}]}]}', 422, "invalid_field"),
    ("/v1/score", b'{"items": [{"prompt": "a", "responses": [" "]}]}', 422, "invalid_field"),
    ("/v1/score", b'{"items": null}', 422, "invalid_field"),
    ("/v1/compare", b'{"pairs": []}', 422, "empty_list"),
    ("/v1/nothing", b"{}", 404, "not_found"),
    ("/healthz", b"{}", 405, "method_not_allowed"),
]


@pytest.mark.parametrize(("route", "body", "status", "code"), WRONG_BODIES)
def test_a_wrong_body_gets_4xx_with_a_reason(
    scorer_url: str, route: str, body: bytes, status: int, code: str | None
) -> None:
    answer = httpx2.post(scorer_url + route, content=body, timeout=30)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "field"}
    assert code is None or error["code"] == code


def test_a_conversation_that_cannot_be_scored_names_its_place(scorer_url: str) -> None:
    items = [{"prompt": "a", "responses": ["fine", ""]}]
    error = httpx2.post(f"{scorer_url}/v1/score", json={"items": items}).json()["error"]
    assert error["field"] == "items[0].responses[1]"


def test_any_content_type_is_read_as_json(scorer_url: str) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        answer = httpx2.post(
            f"{scorer_url}/get_reward", content=json.dumps({"query": ["a"]}), headers={"Content-Type": kind}
        )
        assert answer.status_code == 200


def test_limits_of_items_characters_and_tokens_are_kept(local_scorer: LocalScorer) -> None:
    url = local_scorer(max_items=3, max_text_chars=1000, too_long="reject")
    cases = [
        ({"items": [{"prompt": "a", "responses": ["b", "c"]}] * 2}, "too_many_items", "items"),
        ({"items": [{"prompt": "a", "responses": ["b", "c" * 1001]}]}, "text_too_long", "items[0].responses[1]"),
        ({"items": [{"messages": conversation(150)}]}, "too_many_tokens", "items[0].messages"),
    ]
    for payload, code, field in cases:
        answer = httpx2.post(f"{url}/v1/score", json=payload)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["field"]) == (422, code, field)
