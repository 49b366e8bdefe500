"""What can be read of a row, and which turns of it are judged."""

from random import Random
from typing import Any

import numpy as np
import pytest

from wildreward.conversations import Conversation, Turn, Unreadable, read_conversation


def row(roles: str, **extra: Any) -> dict[str, Any]:
    """A WildChat row with one message per letter (u, a, s), each with its own text."""
    names = {"u": "user", "a": "assistant", "s": "system"}
    messages = [{"role": names[letter], "content": f"text {place}"} for place, letter in enumerate(roles)]
    return {"conversation_hash": "h", "language": "English", "conversation": messages} | extra


def read(given: dict[str, Any]) -> Conversation:
    result = read_conversation(given)
    assert isinstance(result, Conversation)
    return result


def skipped(conversation: Conversation) -> list[tuple[int, str]]:
    return [(message.index, message.reason) for message in conversation.skipped]


def told(conversation: Conversation) -> list[tuple[str, ...]]:
    """The texts of each turn."""
    return [
        tuple(conversation.messages[place]["content"][5:] for place in places)
        for turn in conversation.turns
        for places in [(turn.prompt_index, turn.response_index, turn.follow_up_index)]
    ]


def test_every_reply_with_a_follow_up_is_a_turn() -> None:
    conversation = read(row("uauaua"))
    assert conversation.turns == [Turn(0, 0, 1, 2), Turn(1, 2, 3, 4)]
    assert conversation.skipped == []


@pytest.mark.parametrize(
    ("roles", "turns", "left_out"),
    [
        ("aua", [], [(0, "no_prompt")]),
        ("auaua", [("1", "2", "3")], [(0, "no_prompt")]),
        ("uaau", [], [(1, "repeated_reply")]),
        ("uauaau", [("0", "1", "2")], [(3, "repeated_reply")]),
        ("uuau", [("1", "2", "3")], [(0, "no_reply")]),
        ("suau", [("1", "2", "3")], []),
        ("uasua", [("0", "1", "3")], [(2, "late_system")]),
        ("uauuau", [("0", "1", "2"), ("3", "4", "5")], []),
        ("uauuuau", [("0", "1", "2"), ("4", "5", "6")], [(3, "no_reply")]),
        ("u", [], []),
    ],
)
def test_a_broken_order_keeps_the_turns_that_fit(
    roles: str, turns: list[tuple[str, ...]], left_out: list[tuple[int, str]]
) -> None:
    conversation = read(row(roles))
    assert told(conversation) == turns
    assert skipped(conversation) == left_out


@pytest.mark.parametrize("roles", ["aua", "uaau", "uuau", "uuuaaaua", "suaua"])
def test_what_is_kept_alternates_as_chat_templates_demand(roles: str) -> None:
    kept = [message["role"] for message in read(row(roles)).messages if message["role"] != "system"]
    assert kept == (["user", "assistant"] * len(kept))[: len(kept)]


def test_a_message_that_cannot_be_read_glues_nothing_together() -> None:
    given = row("uauau")
    given["conversation"][2]["content"] = None
    given["conversation"][3]["content"] = "   "
    conversation = read(given)
    assert conversation.turns == []
    assert skipped(conversation) == [(2, "null_content"), (3, "empty_content")]


def test_a_user_message_that_cannot_be_read_is_still_a_turn_that_went_by() -> None:
    given = row("uauauauau")
    given["conversation"][4]["content"] = None
    assert [turn.turn for turn in read(given).turns] == [0, 3]


def test_a_reply_whose_prompt_was_lost_belongs_to_no_earlier_prompt() -> None:
    given = row("uauaua")
    given["conversation"][2]["role"] = "robot"
    conversation = read(given)
    assert told(conversation) == []
    assert skipped(conversation) == [(2, "unknown_role"), (3, "no_prompt")]


def test_tool_calls_stand_between_a_prompt_and_its_reply_without_parting_them() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    result = {"role": "tool", "content": "42"}
    messages = row("uau")["conversation"]
    conversation = read({"id": 7, "messages": [messages[0], call, result, *messages[1:]]})
    assert told(conversation) == [("0", "1", "2")]
    assert skipped(conversation) == [(1, "tool_message"), (2, "tool_message")]
    assert conversation.conversation_hash == "7"


def test_text_parts_are_joined_and_pictures_are_not_read() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    picture = [{"type": "image_url", "image_url": {"url": "x"}}]
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": picture},
    ]
    conversation = read({"messages": messages})
    assert conversation.messages[0]["content"] == "one\ntwo"
    assert skipped(conversation) == [(2, "non_text_content")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "missing_column"),
        ({"conversation": None}, "missing_column"),
        ({"conversation": "hello"}, "wrong_type"),
        ({"conversation": 3}, "wrong_type"),
        ({"messages": []}, "empty_conversation"),
        ({"messages": [None, 3, "x"]}, "not_a_message"),
        ({"messages": [{"role": "user", "content": None}]}, "null_content"),
        ({"messages": [{"role": "user", "content": 5}, {"role": "x", "content": "a"}]}, "no_readable_message"),
    ],
)
def test_a_row_without_a_readable_message_is_unreadable_with_its_reason(given: dict[str, Any], reason: str) -> None:
    result = read_conversation({"id": "a", **given})
    assert isinstance(result, Unreadable)
    assert (result.reason, result.conversation_hash) == (reason, "a")


def test_a_conversation_without_an_id_is_known_by_its_content() -> None:
    first, same, other = (read(row(roles, conversation_hash=None)) for roles in ("uau", "uau", "uaua"))
    assert first.conversation_hash == same.conversation_hash != other.conversation_hash


def test_numpy_lists_and_missing_numbers_as_pandas_gives_them_are_read() -> None:
    given = row("uau", model=float("nan"), hashed_ip=float("nan"))
    given["conversation"] = np.array(given["conversation"], dtype=object)
    conversation = read(given)
    assert len(conversation.turns) == 1
    assert (conversation.model, conversation.user) == (None, None)


def test_the_language_is_detected_from_the_users_words_where_no_column_says_it() -> None:
    messages = [
        {"role": "user", "content": "请帮我写一封给老师的道歉信，谢谢"},
        {"role": "assistant", "content": "Dear teacher, I am sorry that I missed the class yesterday."},
    ]
    assert read({"id": "a", "messages": messages}).language == "Chinese"
    assert read({"id": "a", "messages": messages, "language": "Thai"}).language == "Thai"


def test_no_disorder_loses_a_turn_of_three_neighbours_or_invents_one() -> None:
    rng = Random(0)
    for _ in range(2_000):
        roles = "".join(rng.choice("uuaaas") for _ in range(rng.randrange(1, 12)))
        given = row(roles)
        sides = [place for place, letter in enumerate(roles) if letter != "s"]
        for place in rng.sample(sides, min(len(sides), rng.randrange(2))):
            given["conversation"][place]["content"] = None
        readable = [message["content"] for message in given["conversation"]]
        expected = [
            tuple(str(place) for place in trio)
            for trio in zip(sides, sides[1:], sides[2:], strict=False)
            if "".join(roles[place] for place in trio) == "uau" and all(readable[place] for place in trio)
        ]
        result = read_conversation(given)
        assert (told(result) if isinstance(result, Conversation) else []) == expected, roles
