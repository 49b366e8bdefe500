"""WildFB's layout: its six keys, with the meaning they have there."""

import json
from pathlib import Path
from typing import Any

import pytest

from wildreward.errors import UsageError
from wildreward.export import TEMPLATE, json_line, read_template, wildfb_record


def row(history: int = 1) -> dict[str, Any]:
    said = [("user", "Hi {response}"), ("assistant", "Hello")] * history + [
        ("user", "Why?"),
        ("assistant", "So {query}."),
    ]
    messages = [{"role": role, "content": content} for role, content in said]
    return {"conversation_hash": "abc", "turn": history, "messages": messages, "follow_up": "Thanks\u2028", "label": 4}


def test_a_record_has_the_keys_of_wildfb_in_its_order_and_meaning() -> None:
    record = wildfb_record(row())
    assert list(record) == ["id", "history", "text", "messages", "user_feedback", "label"]
    assert record["id"] == "abc_turn1"
    assert [message["content"] for message in record["history"]] == ["Hi {response}", "Hello"]
    assert [message["role"] for message in record["messages"]] == ["user", "assistant"]
    assert record["user_feedback"] == {"role": "user", "content": "Thanks\u2028"}
    assert record["label"] == 4


def test_the_text_holds_history_query_and_response_unchanged_and_no_feedback() -> None:
    text = wildfb_record(row())["text"]
    assert "user: Hi {response}\nassistant: Hello\n" in text
    assert "[user]\nWhy?\n" in text
    assert text.endswith("So {query}.")
    assert "Thanks" not in text
    assert "No previous context." in wildfb_record(row(history=0))["text"]


def test_a_record_is_one_line_for_every_reader() -> None:
    line = json_line(wildfb_record(row())).decode()
    assert line.splitlines() == [line[:-1]]
    assert json.loads(line) == wildfb_record(row())


def test_another_template_gives_another_text_and_one_without_a_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "template.txt"
    path.write_text("H:{history}Q:{query} R:{response} {other}\n")
    assert (
        wildfb_record(row(0), read_template(str(path)))["text"] == "H:No previous context.Q:Why? R:So {query}. {other}"
    )
    assert read_template(None) == TEMPLATE
    path.write_text("{query} {response}")
    with pytest.raises(UsageError, match=r"template\.txt lacks \{history\}"):
        read_template(str(path))
    with pytest.raises(UsageError, match="no such file"):
        read_template(str(tmp_path / "absent"))
