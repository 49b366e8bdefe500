"""What a judge is asked."""

from wildreward.judge.prompts import feedback_messages, refusal_messages
from wildreward.judge.types import TurnText

HISTORY = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "earlier question"},
    {"role": "assistant", "content": "earlier reply"},
]
TURN = TurnText(HISTORY, "prompt\n\nwith  lines", "reply\n```x\n  y```", "follow\nup")


def whole(messages: list[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)


def test_the_texts_are_quoted_unchanged_and_the_alphabet_is_listed() -> None:
    asked = whole(feedback_messages(TURN))
    assert all(text in asked for text in (TURN.prompt, TURN.response, TURN.follow_up))
    assert all(f"[[{level}]]" in asked for level in range(1, 6))
    assert all(f"[[{case}]]" in whole(refusal_messages(TURN)) for case in range(3))


def test_two_questions_share_all_that_does_not_depend_on_the_turn() -> None:
    other = TurnText([], "another prompt", "another reply", "another follow-up")
    for make in (feedback_messages, refusal_messages):
        first, second = whole(make(TURN)), whole(make(other))
        assert first[:900] == second[:900]


def test_history_is_shown_only_where_it_is_asked_for() -> None:
    assert "earlier reply" not in whole(feedback_messages(TURN))
    shown = whole(feedback_messages(TURN, history_turns=1))
    assert "earlier question" in shown
    assert "be brief" not in shown


def test_the_refusal_question_does_not_see_the_complaint() -> None:
    assert TURN.follow_up not in whole(refusal_messages(TURN))
