from typing import Any

import pytest

from wildreward.errors import DataError
from wildreward.score_rows import check_columns, conversation_of, id_of
from wildreward.scorer import Unscored

USER, REPLY = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [USER, REPLY]},
        {"prompt": "hi", "response": "yes"},
        {"prompt": [USER], "response": "yes", "messages": None},
        {"conversation": [USER, REPLY | {"language": "English"}]},
        {"conversation": [USER, REPLY, {"role": "user", "content": "thanks"}]},
    ],
)
def test_every_layout_gives_the_conversation_that_ends_with_the_reply(values: dict[str, Any]) -> None:
    assert conversation_of(values) == [USER, REPLY]


def test_history_comes_before_the_prompt() -> None:
    found = conversation_of({"history": [USER, REPLY], "prompt": "more", "response": "no"})
    assert not isinstance(found, Unscored)
    assert [message["content"] for message in found] == ["hi", "yes", "more", "no"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"prompt": "hi"}, "missing_field"),
        ({"prompt": "hi", "response": None}, "missing_field"),
        ({"prompt": 3, "response": "yes"}, "malformed_messages"),
        ({"prompt": "hi", "response": 3}, "content_not_text"),
        ({"prompt": "hi", "response": "yes", "history": "before"}, "malformed_messages"),
        ({"conversation": [USER]}, "last_message_not_assistant"),
        ({"conversation": []}, "empty_conversation"),
        ({"conversation": [None, REPLY | {"content": ""}]}, "unknown_role"),
        ({"messages": [USER]}, "last_message_not_assistant"),
    ],
)
def test_what_cannot_be_scored_has_a_reason(values: dict[str, Any], reason: str) -> None:
    found = conversation_of(values)
    assert isinstance(found, Unscored)
    assert found.reason == reason


def test_the_id_of_a_row() -> None:
    assert [id_of(row) for row in ({"id": 3, "conversation_hash": "h"}, {"conversation_hash": "h"}, {})] == [
        "3",
        "h",
        None,
    ]


def test_a_file_without_a_known_layout_names_its_columns() -> None:
    with pytest.raises(
        DataError, match=r"x\.parquet: nothing to score\. Its columns are: text, prompt\. Columns needed"
    ):
        check_columns("x.parquet", ["text", "prompt"])
