"""Wire models: what is accepted, and how a refusal names its place."""

import pickle
from typing import Any

import pytest

from serve.schema import CompareRequest, RequestError, RewardRequest, ScoreRequest, parse

TURN = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def test_an_item_is_messages_or_a_prompt_with_responses() -> None:
    request = parse(ScoreRequest, {"items": [{"messages": TURN}, {"prompt": "a", "responses": ["b", "c"]}]})
    assert request.items[0].conversations() == [TURN]
    assert [messages[-1]["content"] for messages in request.items[1].conversations()] == ["b", "c"]
    assert request.items[1].conversations()[0] == TURN


def test_a_prompt_may_be_messages_of_its_own() -> None:
    request = parse(
        ScoreRequest, {"items": [{"prompt": [{"role": "system", "content": "s"}, TURN[0]], "responses": ["b"]}]}
    )
    assert request.items[0].conversations() == [[{"role": "system", "content": "s"}, *TURN]]


@pytest.mark.parametrize(
    ("model", "payload", "code", "field"),
    [
        (RewardRequest, {"query": []}, "empty_list", "query"),
        (RewardRequest, {"query": "text"}, "invalid_field", "query"),
        (RewardRequest, {"query": ["a", 1]}, "invalid_field", "query[1]"),
        (RewardRequest, {"query": [[{"role": "user"}]]}, "missing_field", "query[0][0].content"),
        (RewardRequest, {}, "missing_field", "query"),
        (RewardRequest, {"query": ["a"], "queries": []}, "unknown_field", "queries"),
        (RewardRequest, [], "invalid_field", None),
        (ScoreRequest, {"items": [{}]}, "invalid_field", "items[0]"),
        (ScoreRequest, {"items": [{"messages": TURN, "prompt": "a"}]}, "invalid_field", "items[0]"),
        (ScoreRequest, {"items": [{"prompt": "a", "responses": []}]}, "empty_list", "items[0].responses"),
        (ScoreRequest, {"items": [{"prompt": 3, "responses": ["a"]}]}, "invalid_field", "items[0].prompt"),
        (
            ScoreRequest,
            {"items": [{"messages": TURN}, {"messages": [{"role": "bot", "content": ""}]}]},
            "invalid_field",
            "items[1].messages[0].role",
        ),
        (CompareRequest, {"pairs": [{"prompt": "a", "a": "b"}]}, "missing_field", "pairs[0].b"),
    ],
)
def test_a_wrong_request_is_refused_naming_the_field(model: Any, payload: Any, code: str, field: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        parse(model, payload)
    assert (refused.value.status, refused.value.code, refused.value.field) == (422, code, field)


def test_a_refusal_survives_pickling() -> None:
    refusal = RequestError(503, "overloaded", "full", None, 2)
    again = pickle.loads(pickle.dumps(refusal))
    assert (again.status, again.body(), again.retry_after_s, str(again)) == (503, refusal.body(), 2, str(refusal))
