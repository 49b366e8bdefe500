"""PPE's rules against numbers worked out by hand."""

import numpy as np
import pytest

from tests.wildreward.benchmarks.rows import ppe_correctness_row, ppe_human_row
from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks import ppe_correctness, ppe_human
from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.benchmarks.ppe_correctness import COUNTS, PPECorrectness
from wildreward.benchmarks.ppe_human import PPEHuman
from wildreward.records import Record


def _value(result: SetResult, name: str) -> float | None:
    return result.metrics[name].estimate.value


def test_human_preference_leaves_out_human_ties_and_calls_model_ties_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ppe_human_row("1", "model_a"),
        ppe_human_row("2", "model_b", language="Chinese"),
        ppe_human_row("3", "model_a", hard_prompt=True),
        ppe_human_row("4", "tie"),
        ppe_human_row("5", "tie (bothbad)"),
        ppe_human_row("6", "neither"),
        ppe_human_row("7", "model_a", response_2=""),
    ]
    found = made(PPEHuman, rows)
    assert [messages[-1]["content"] for messages in found.conversations[2:4]] == ["second", "first"]  # chosen first
    result = take(found, [2, 1, 1, 2, 1, 1]).measure(QUICK)
    assert found.skipped == {"empty_response": 1, "human_tie": 2, "winner_not_model_a_or_model_b_or_tie": 1}
    assert _value(result, "accuracy") == 1 / 3
    values = {name: part["accuracy"].estimate.value for name, part in result.subsets.items()}
    assert values["english"] == 1 / 2
    assert values["chinese"] == values["non_english"] == values["hard_prompt"] == 0.0
    assert values["is_code"] is None
    assert "all has 7 rows (16038 expected)" in result.notes[0]
    assert "2 of the rows of all could not be evaluated" in result.notes[0]  # human ties are the rule's
    monkeypatch.setattr(ppe_human, "TOTAL", 5)
    assert take(made(PPEHuman, rows[:5]), [2, 1, 1, 2, 1, 1]).measure(QUICK).notes == ()


def _all_benchmarks(scores: list[float], truth: list[bool], pairs: list[list[int]]) -> tuple[EvaluationSet, SetResult]:
    found = made(PPECorrectness, [ppe_correctness_row(name, "1", truth, pairs) for name in COUNTS])
    return found, take(found, scores * len(COUNTS)).measure(QUICK)


def test_sizes_are_the_official_ones_and_each_file_is_known_by_a_column() -> None:
    assert sum(COUNTS.values()) == 2555
    found, _ = _all_benchmarks([1, 2], [False, True], [[0, 1]])
    assert [item["benchmark"] for item in found.items] == list(COUNTS)
    path = PPECorrectness("set", [])
    row = ppe_correctness_row("math", "1", [True, False], [])
    del row["level"]
    path.add([Record(0, row)], "hf://datasets/lmarena-ai/PPE-MATH-Best-of-K/data/train-0.parquet")
    assert path.items[0]["benchmark"] == "math"


def test_correctness_metrics_of_a_hand_made_prompt() -> None:
    # by score: right (4), wrong (3), right (2), wrong (1)
    _, result = _all_benchmarks([4, 3, 2, 1], [True, False, True, False], [[0, 1], [1, 2], [3, 0]])
    assert _value(result, "accuracy") == pytest.approx(2 / 3)
    assert _value(result, "auc") == pytest.approx(3 / 4)
    curve = [1 / 2, (3 * 1 + 2 * 0 + 1 * 1) / 6, (3 * 1 + 1 * 0) / 4, 1]
    oracle = [1 / 2, 5 / 6, 1, 1]
    points = result.extra["curves"]["best_of_n"]  # at 1, 2 and 4 replies
    assert [point["value"] for point in points["model"]] == pytest.approx([curve[0], curve[1], curve[3]])
    assert [point["value"] for point in points["oracle"]] == pytest.approx([oracle[0], oracle[1], oracle[3]])
    assert result.subsets["math"]["best_of_2"].estimate.value == pytest.approx(curve[1])
    assert _value(result, "end_score") == 1.0
    assert _value(result, "max_score") == 1.0
    assert _value(result, "loss") == pytest.approx(np.mean((np.array(oracle) - np.array(curve)) ** 2))
    assert result.metrics["loss"].higher_is_better is False
    assert result.metrics["end_score"].baselines["random"].estimate.value == 1 / 2
    assert result.metrics["end_score"].baselines["oracle"].estimate.value == 1.0


def test_over_optimisation_shows_between_the_highest_point_and_the_end() -> None:
    # the one wrong reply with the top score ruins the end of the curve
    _, result = _all_benchmarks([4, 3, 2, 1], [False, True, True, False], [[1, 0]])
    assert _value(result, "end_score") == 0.0
    assert _value(result, "max_score") == pytest.approx(1 / 2)
    assert _value(result, "accuracy") == 0.0


def test_scores_are_compared_within_a_prompt_before_they_are_pooled() -> None:
    rows = [ppe_correctness_row(name, str(i), [True, False], [[0, 1]]) for name in COUNTS for i in range(2)]
    result = take(made(PPECorrectness, rows), [2, 1, 200, 100] * len(COUNTS)).measure(QUICK)
    assert _value(result, "auc") == 1.0  # pooled raw, the wrong reply with 100 would beat the right one with 2


def test_a_tie_wins_no_pair() -> None:
    _, result = _all_benchmarks([1, 1], [True, False], [[0, 1]])
    assert (_value(result, "accuracy"), _value(result, "auc"), _value(result, "end_score")) == (0.0, 1 / 2, 1 / 2)


def test_an_absent_benchmark_makes_the_means_null(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ppe_correctness_row(name, "1", [True, False], [[0, 1]]) for name in COUNTS if name != "gpqa"]
    result = take(made(PPECorrectness, rows), [2, 1] * 4).measure(QUICK)
    assert (_value(result, "accuracy"), _value(result, "worst_benchmark")) == (None, None)
    assert result.subsets["math"]["accuracy"].estimate.value == 1.0
    assert "gpqa is absent (512 rows expected)" in result.notes[0]
    monkeypatch.setattr(ppe_correctness, "COUNTS", dict.fromkeys(COUNTS, 1))
    assert _all_benchmarks([2, 1], [True, False], [[0, 1]])[1].notes == ()


def test_malformed_rows_are_counted_and_a_question_is_one_group() -> None:
    rows = [
        ppe_correctness_row("math", "1", [True, False], [[0, 1]]) | {"model_name": "m1"},
        ppe_correctness_row("math", "1", [True, False], [[0, 1]]) | {"model_name": "m2"},
        ppe_correctness_row("math", "2", [True, False], []) | {"scores": [True, False, True]},
        ppe_correctness_row("math", "3", [True, False], [[0, 2]]),
        ppe_correctness_row("math", "4", [True, True], [[0, 1]]),
        ppe_correctness_row("math", "5", [True, False], []) | {"response_2": None},
    ]
    found = take(made(PPECorrectness, rows), [2, 1, 2, 1])
    assert found.skipped == {
        "malformed_sampled_conflict_pairs": 2,
        "missing_response_2": 1,
        "scores_are_not_one_of_each_reply": 1,
    }
    assert len(set(found.groups(QUICK))) == 1
