import pytest

from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.rated import Rated
from wildreward.errors import DataError


def _reply(
    turn: int, response: str, rating: object, preferred: object = None, conversation: str = "c"
) -> dict[str, object]:
    return {
        "conversation_hash": conversation,
        "turn": turn,
        "history": [],
        "prompt": "hi",
        "response": response,
        "rating": rating,
        "preferred": preferred,
    }


def test_the_preferred_reply_of_a_turn_meets_the_other_one() -> None:
    rows = [
        _reply(0, "aaa", 5, True),
        _reply(0, "b", 4, False),
        _reply(1, "c", 4, False),
        _reply(1, "dddd", 2, True),
        _reply(2, "e", 3),
    ]
    result = take(made(Rated, rows), [3, 1, 2, 2, 1]).measure(QUICK)
    accuracy = result.metrics["preference_accuracy"]
    assert result.extra["preference_pairs"] == accuracy.count == 2
    assert accuracy.estimate.value == 1 / 2  # the tie of turn 1 is wrong
    assert accuracy.baselines["length"].estimate.value == 1.0


def test_equal_turn_numbers_of_other_conversations_are_other_turns() -> None:
    rows = [_reply(0, "a", 5, True, "c1"), _reply(0, "b", 4, False, "c2")]
    result = take(made(Rated, rows), [3, 1]).measure(QUICK)
    assert (result.extra["preference_pairs"], result.extra["unpaired"]) == (0, 2)
    assert "preference_accuracy" not in result.metrics


def test_without_conversations_the_history_and_prompt_make_the_turn() -> None:
    rows = [{"prompt": p, "response": p, "rating": 1, "preferred": w} for p in ("x", "y") for w in (True, False)]
    result = take(made(Rated, rows), [2, 1, 2, 1]).measure(QUICK)
    assert result.extra["preference_pairs"] == 2
    assert result.metrics["preference_accuracy"].estimate.value == 1.0


def test_correlations_of_a_hand_made_case() -> None:
    rows = [_reply(i, "x" * (i + 1), rating) for i, rating in enumerate([1, 2, 3, 4])]
    metrics = take(made(Rated, rows), [1, 3, 2, 4]).measure(QUICK).metrics
    assert metrics["spearman"].estimate.value == pytest.approx(0.8)
    assert metrics["kendall"].estimate.value == pytest.approx(4 / 6)
    assert metrics["spearman"].baselines["length"].estimate.value == pytest.approx(1.0)


def test_history_comes_before_the_prompt() -> None:
    history = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    found = made(Rated, [_reply(1, "4", 5) | {"history": history}])
    assert [message["content"] for message in found.conversations[0]] == ["1", "2", "hi", "4"]


def test_unusable_rows_are_counted() -> None:
    rows = [
        _reply(0, "ok", 5),
        _reply(1, "ok", "five"),
        _reply(2, "ok", float("nan")),
        _reply(3, "", 5),
        _reply(4, "ok", None),
        _reply(5, "ok", 5, preferred="yes"),
    ]
    found = take(made(Rated, rows), [1])
    assert found.skipped == {
        "empty_response": 1,
        "missing_rating": 1,
        "preferred_not_true_or_false": 1,
        "rating_not_a_number": 2,
    }


def test_grouping_by_user_needs_users() -> None:
    found = take(made(Rated, [_reply(0, "ok", 5)]), [1])
    with pytest.raises(DataError, match="--group-by user: no row has a user"):
        found.measure(MeasureOptions(group_by="user"))
