import math

import pytest
from sklearn.metrics import roc_auc_score

from tests.wildreward.benchmarks.sets import QUICK, made, scalar, take
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


RATINGS = [1, 2, 3, 3, 4, 5, 5, 2, 4, 3]
SCORES = [1.5, 1.0, 2.0, 2.5, 3.0, 2.0, 3.5, 2.5, 2.5, 4.0]


def test_high_ratings_meet_low_ones_across_prompts_and_the_middle_is_left_out() -> None:
    rows = [_reply(i, "ok", rating) for i, rating in enumerate(RATINGS)]
    result = take(made(Rated, rows), SCORES).measure(QUICK)
    decided = [(rating > 3, score) for rating, score in zip(RATINGS, SCORES, strict=True) if rating != 3]
    found = result.metrics["cross_sample_auc"]
    assert result.extra["rating_threshold"] == 3.0
    assert found.count == len(decided) == 7
    assert found.estimate.value == pytest.approx(roc_auc_score(*zip(*decided, strict=True)))
    assert found.baselines["length"].estimate.value == 0.5


def test_calibration_against_the_rating_puts_both_on_one_scale() -> None:
    # scores 1 and 4 of 1..4 say 0 and 1; ratings 1, 3, 5 of 1..5 are 0, 1/2, 1
    rows = [_reply(i, "ok", rating) for i, rating in enumerate([1, 3, 5, 5])]
    result = take(made(Rated, rows), [1, 1, 4, 4]).measure(QUICK)
    found = result.metrics["rating_calibration_error"]
    assert found.estimate.value == pytest.approx(0.5 * abs(0 - 0.25))
    assert not found.higher_is_better
    curve = result.extra["curves"]
    assert [(p["x"], p["value"]) for p in curve["score_by_rating"]["model"]] == [(1, 1), (3, 1), (5, 4)]
    assert [(p["x"], p["value"]) for p in curve["rating_by_score"]["model"]] == [(1, 2), (4, 5)]


def test_a_scalar_model_has_no_scale_to_calibrate() -> None:
    found = made(Rated, [_reply(i, "ok", rating) for i, rating in enumerate(RATINGS)])
    found.take_scores([scalar(100 * score) for score in SCORES])
    metrics = found.measure(QUICK).metrics
    assert "rating_calibration_error" not in metrics
    assert metrics["spearman"].estimate.value is not None


def test_equal_ratings_say_nothing_and_do_not_fail() -> None:
    result = take(made(Rated, [_reply(i, "ok", 4) for i in range(12)]), [2.0] * 12).measure(QUICK)
    assert "rating_calibration_error" not in result.metrics
    assert result.metrics["cross_sample_auc"].estimate.value is None
    assert result.metrics["spearman"].estimate.value is None


def test_the_users_choices_are_measured_as_pairs() -> None:
    rows = [_reply(i, "- a\n- b" if win else "a b", 4, win) for i in range(12) for win in (True, False)]
    result = take(made(Rated, rows), [3, 1] * 12).measure(QUICK)
    values = {name: metric.estimate.value for name, metric in result.metrics.items()}
    assert values["preference_accuracy"] == values["preference_accuracy_when_longer_is_better"] == 1.0
    assert values["preference_score_gain_of_more_list_items"] == 2.0
    assert values["preference_ece"] == pytest.approx(1 / (1 + math.exp(2)))
    assert result.metrics["preference_accuracy"].estimate.low is None  # one conversation is one group
    assert "preference_accuracy_by_margin" in result.extra["curves"]
    assert result.extra["position"]["consistent"] == result.extra["preference_pairs"] == 12


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
