"""The routes, over real HTTP through Ray Serve: answers agree with the model asked directly, wrong requests get 4xx."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serve.error_codes import GET_STATUSES, POST_STATUSES
from tests.serve.conftest import LocalScorer
from tests.serve.test_engine import FP32_TOLERANCE, conversation
from wildreward.preference import probability_better, probability_tied
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


def test_a_query_may_be_a_conversation_which_gets_the_checkpoints_template(scorer_url: str) -> None:
    talk = conversation(12)
    mixed = post(scorer_url, "/get_reward", {"query": ["a text", talk]})["rewards"]
    native = post(scorer_url, "/v1/score", {"items": [{"messages": talk}]})["items"][0]["responses"][0]["score"]
    assert mixed[1] == pytest.approx(native, abs=FP32_TOLERANCE)
    wrong = httpx2.post(f"{scorer_url}/get_reward", json={"query": ["a", [{"role": "bot", "content": "x"}]]})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "query[1][0].role")


def test_v1_compare_gives_the_probability_that_a_is_better(scorer_url: str) -> None:
    pairs = [
        {"prompt": "q", "a": "yes", "b": "no"},
        {"prompt": "q", "a": "no", "b": "yes"},
        {"prompt": "q", "a": "x", "b": "x"},
    ]
    first, swapped, same = post(scorer_url, "/v1/compare", {"pairs": pairs})["pairs"]
    assert first["a_better"] == pytest.approx(probability_better(first["a"]["probs"], first["b"]["probs"]))
    assert first["tied"] == pytest.approx(probability_tied(first["a"]["probs"], first["b"]["probs"]))
    assert first["a_better"] + swapped["a_better"] == pytest.approx(1, abs=FP32_TOLERANCE)
    assert (first["a_better"] > 0.5) == (first["a"]["score"] > first["b"]["score"])
    assert same["a_better"] == pytest.approx(0.5, abs=FP32_TOLERANCE)


def test_concurrent_clients_each_get_the_scores_of_their_own_texts(scorer_url: str, model: RewardModel) -> None:
    conversations = [conversation(words, seed) for seed in range(8) for words in (1, 5, 60, 2, 17, 150, 9, 33)]
    direct = [score.score for score in model.score(conversations)]

    def one(messages: Any) -> float:
        return post(scorer_url, "/v1/score", {"items": [{"messages": messages}]})["items"][0]["responses"][0]["score"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, conversations)) == pytest.approx(direct, abs=FP32_TOLERANCE)


def test_health_and_model_say_what_is_served(scorer_url: str, checkpoint: Path) -> None:
    assert httpx2.get(f"{scorer_url}/healthz").json() == {"status": "alive"}
    info = httpx2.get(f"{scorer_url}/v1/model").json()
    assert httpx2.get(f"{scorer_url}/readyz").json() == {"status": "ready", "model": info["id"]}
    assert (info["head"], info["num_classes"], info["template"], info["max_tokens"]) == ("coral", 4, "plain", 128)
    assert info["checkpoint"] == str(checkpoint)
    assert info["levels"] == ["rejection", "error correction", "positive engagement", "satisfaction"]
    assert (info["calibrated"], info["calibration"]) == (False, None)
    assert (info["temperature"], len(info["cutpoints"])) == (1.0, 3)


def test_status_counts_replicas_and_times_recent_requests(scorer_url: str, local_scorer: LocalScorer) -> None:
    deployed = httpx2.get(f"{scorer_url}/v1/status").json()
    counts = deployed["replicas"]
    assert (counts["running"] + counts["starting"], counts["running"] >= 1) == (2, True)  # a test may have killed one
    assert (deployed["min_replicas"], deployed["max_replicas"]) == (2, 2)
    url = local_scorer()
    before = httpx2.get(f"{url}/v1/status").json()
    assert before["replicas"] is None
    assert before["latency"] == {"requests": 0, "window_s": 300.0, "p50_ms": None, "p95_ms": None}
    for _ in range(3):
        post(url, "/get_reward", {"query": ["a"]})
    assert httpx2.post(f"{url}/get_reward", json={"query": [[]]}).status_code == 422  # has no score, and no duration
    after = httpx2.get(f"{url}/v1/status").json()
    assert after["latency"]["requests"] == 3
    assert 0 < after["latency"]["p50_ms"] <= after["latency"]["p95_ms"]
    assert after["ongoing"] == 0


def test_openapi_declares_every_route_with_its_errors(local_scorer: LocalScorer) -> None:
    url = local_scorer()
    schema = httpx2.get(f"{url}/openapi.json").json()
    posts, gets = ("/get_reward", "/v1/score", "/v1/compare"), ("/healthz", "/readyz", "/v1/model", "/v1/status")
    assert set(schema["paths"]) == {*posts, *gets}
    for paths, method, statuses in ((posts, "post", POST_STATUSES), (gets, "get", GET_STATUSES)):
        for path in paths:
            answers = schema["paths"][path][method]["responses"]
            assert set(answers) == {"200", *map(str, statuses)}
            for status in map(str, statuses):
                answer = answers[status]["content"]["application/json"]["schema"]
                assert answer == {"$ref": "#/components/schemas/ErrorAnswer"}
    assert "Retry-After" in schema["paths"]["/v1/score"]["post"]["responses"]["503"]["headers"]
    assert "securitySchemes" not in schema["components"]


def test_openapi_says_which_routes_want_a_token(local_scorer: LocalScorer) -> None:
    schema = httpx2.get(f"{local_scorer(digests=['0' * 64])}/openapi.json").json()
    assert schema["paths"]["/v1/score"]["post"]["security"] == [{"bearer": []}]
    assert schema["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_need_nothing_from_elsewhere(local_scorer: LocalScorer, path: str) -> None:
    page = httpx2.get(local_scorer() + path)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "://" not in page.text


def test_the_examples_of_the_schema_are_answered(local_scorer: LocalScorer) -> None:
    url = local_scorer()
    schema = httpx2.get(f"{url}/openapi.json").json()
    for path in ("/get_reward", "/v1/score", "/v1/compare"):
        reference = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        post(url, path, schema["components"]["schemas"][reference.rsplit("/", 1)[1]]["examples"][0])


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
    empty = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]
    wrong = [
        ("/v1/score", {"items": [{"prompt": "a", "responses": ["fine", ""]}]}, "items[0].responses[1]"),
        ("/v1/score", {"items": [{"messages": empty}]}, "items[0].messages[1].content"),
        ("/v1/compare", {"pairs": [{"prompt": "a", "a": "fine", "b": ""}]}, "pairs[0].b"),
        ("/get_reward", {"query": ["fine", empty]}, "query[1][1].content"),
    ]
    for route, payload, field in wrong:
        error = httpx2.post(scorer_url + route, json=payload).json()["error"]
        assert (error["field"], error["message"]) == (field, "the reply to score is empty")


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
