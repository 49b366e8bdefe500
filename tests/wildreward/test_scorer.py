import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.checkpoints import tiny_checkpoint
from tests.wildreward.benchmarks.sets import score
from wildreward.reward_model import Score
from wildreward.scorer import CheckpointScorer, Conversation, Unscored, content_key, problem_of, score_each


def _talk(reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": reply}]


class Counting:
    """Any object with `score` is a scorer: this one scores by length, and NaN for "nan"."""

    def __init__(self) -> None:
        self.asked: list[Conversation] = []

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        self.asked += conversations
        replies = [messages[-1]["content"] for messages in conversations]
        return [score(math.nan if reply == "nan" else len(reply)) for reply in replies]


def test_equal_conversations_are_scored_once_and_order_is_kept() -> None:
    scorer = Counting()
    scores = score_each(scorer, [_talk("aaa"), _talk("b"), _talk("aaa")])
    assert [found.score for found in scores if isinstance(found, Score)] == [3, 1, 3]
    assert len(scorer.asked) == 2


def test_a_score_that_is_no_number_and_a_conversation_without_reply_are_reasons_not_scores() -> None:
    scores = score_each(Counting(), [_talk("nan"), _talk(" "), _talk("ok")])
    assert [found.reason for found in scores if isinstance(found, Unscored)] == ["nan_score", "empty_response"]
    assert isinstance(scores[2], Score)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ("text", "malformed_messages"),
        (None, "malformed_messages"),
        ([], "empty_conversation"),
        ([{"role": "robot", "content": "x"}], "unknown_role"),
        (["hi"], "unknown_role"),
        ([{"role": "assistant", "content": None}], "content_not_text"),
        ([{"role": "user", "content": "hi"}], "last_message_not_assistant"),
        (_talk("\n"), "empty_response"),
    ],
)
def test_what_is_wrong_with_a_conversation_has_a_name(messages: object, reason: str) -> None:
    found = problem_of(messages)
    assert found is not None
    assert found.reason == reason


def test_a_checkpoint_recipe_loads_the_model_it_names(tmp_path: Path) -> None:
    scorer = CheckpointScorer(str(tiny_checkpoint(tmp_path))).load()
    [found] = score_each(scorer, [_talk("fine")])
    assert isinstance(found, Score)
    assert 1 <= found.score <= 4
    assert scorer.describe()["head"] == "coral"


def test_content_keys_tell_texts_roles_and_boundaries_apart() -> None:
    talks = [_talk("a"), _talk("b"), _talk("a")[1:], [{"role": "user", "content": "hi a"}]]
    assert len({content_key(talk) for talk in talks}) == len(talks)
    assert content_key(_talk("a")) == content_key(_talk("a"))
