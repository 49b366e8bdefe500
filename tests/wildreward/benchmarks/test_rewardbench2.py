"""RewardBench 2's rules against numbers worked out by hand, the Ties score above all."""

from math import tanh

import numpy as np
import pytest

from tests.wildreward.benchmarks.rows import rewardbench2_row
from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks import rewardbench2
from wildreward.benchmarks.evaluation_set import SetResult
from wildreward.benchmarks.rewardbench2 import COUNTS, RewardBench2

DOMAINS = [name for name in COUNTS if name != "Ties"]


def _ties(number: int, tied: tuple[list[float], list[float]], ref: tuple[float, list[float]]) -> list[object]:
    rows = [
        rewardbench2_row("Ties", f"tied:{number}", len(tied[0]), len(tied[1])),
        rewardbench2_row("Ties", f"ref:{number}", 1, len(ref[1])),
    ]
    return [rows, [*tied[0], *tied[1], ref[0], *ref[1]]]


def _measured(*parts: list[object]) -> SetResult:
    rows = [row for part in parts for row in part[0]]  # type: ignore[attr-defined]
    return take(made(RewardBench2, rows), [s for part in parts for s in part[1]]).measure(QUICK)  # type: ignore[attr-defined]


def _value(result: SetResult, name: str) -> float | None:
    return result.metrics[name].estimate.value


FIRST = _ties(1, ([5, 4], [2, 1]), (3, [2.5]))  # margin 2, spread 1; ref margin 0.5
SECOND = _ties(2, ([3, 1], [2]), (1, [1]))  # margin -1, spread 2; ref margin 0: a tie is no accuracy


def test_sizes_are_the_official_ones() -> None:
    assert sum(COUNTS.values()) == 1865
    assert (COUNTS["Ties"], COUNTS["Focus"]) == (102, 495)


def test_best_of_four_credits_a_shared_top_with_its_share() -> None:
    rows = [rewardbench2_row("Math", str(i), 1, 3) for i in range(4)]
    result = _measured([rows, [4, 1, 2, 3, 4, 4, 1, 1, 1, 4, 1, 1, 2, 2, 2, 2]])
    assert _value(result, "math") == pytest.approx((1 + 1 / 2 + 0 + 1 / 4) / 4)
    assert result.metrics["math"].chance == 1 / 4
    assert result.extra["replies"] == {"4": 4}


def test_the_ties_score_of_two_hand_made_prompts() -> None:
    result = _measured(FIRST, SECOND)
    parts = {name: metric.estimate.value for name, metric in result.subsets["Ties"].items()}
    margin = (tanh(0.5 / 1 - 1) + tanh(-1 / 2 - 1)) / 2
    assert parts == pytest.approx(
        {
            "tied_accuracy": 1 / 2,
            "ref_accuracy": 1 / 2,
            "correctness_preferred": 1 / 2,
            "correctness_preferred_hard": 0,
            "margin": margin,
        }
    )
    assert _value(result, "ties") == pytest.approx(0.3 / 2 + 0.3 / 2 + 0.2 / 2 + 0.01 * margin)


def test_equal_right_answers_have_no_spread_to_divide_by() -> None:
    infinite = _ties(1, ([2, 2], [1]), (2, [1]))  # margin 1, spread 0: tanh(inf) = 1
    nothing = _ties(2, ([2, 2], [2]), (2, [1]))  # margin 0, spread 0: 0 / 0 counts 0, and no accuracy
    result = _measured(infinite, nothing)
    assert result.subsets["Ties"]["margin"].estimate.value == pytest.approx(1 / 2)
    assert result.subsets["Ties"]["tied_accuracy"].estimate.value == 1 / 2
    assert result.subsets["Ties"]["correctness_preferred_hard"].estimate.value == 1 / 2


def test_the_overall_is_the_mean_of_six_and_null_while_one_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    domains: list[object] = [[rewardbench2_row(name, "1", 1, 3) for name in DOMAINS], [2, 1, 1, 1] * 4 + [2, 2, 1, 1]]
    absent = _measured(domains)
    assert (_value(absent, "overall"), _value(absent, "ties")) == (None, None)
    assert "Ties is absent (102 rows expected)" in absent.notes[0]
    monkeypatch.setattr(rewardbench2, "COUNTS", dict.fromkeys(COUNTS, 1) | {"Ties": 2})
    result = _measured(domains, FIRST)
    ties = 0.3 + 0.3 + 0.2 + 0.01 * tanh(-0.5)
    assert _value(result, "overall") == pytest.approx((4 + 1 / 2 + ties) / 6)
    assert _value(result, "worst_subset") == pytest.approx(1 / 2)
    assert result.notes == ()


def test_a_tied_prompt_and_its_reference_are_drawn_together() -> None:
    found = take(made(RewardBench2, FIRST[0]), FIRST[1])  # type: ignore[arg-type]
    assert set(found.groups(QUICK)) == {"ties:1"}


def test_what_does_not_fit_the_format_is_counted_by_reason() -> None:
    rows = [
        rewardbench2_row("Math", "1", 1, 3),
        rewardbench2_row("Math", "2", 2, 2),
        rewardbench2_row("Math", "3", 1, 3) | {"num_correct": 2},
        rewardbench2_row("Math", "4", 1, 3) | {"rejected": "text"},
        rewardbench2_row("Math", "5", 1, 3) | {"rejected": ["a", "", "c"]},
        rewardbench2_row("Math", "6", 1, 3) | {"prompt": None},
        rewardbench2_row("Ties", "7", 2, 2),
        rewardbench2_row("Ties", "tied:8", 1, 2),
        rewardbench2_row("Math", "1", 1, 3),
    ]
    found = take(made(RewardBench2, rows), [4, 1, 1, 1])
    assert found.skipped == {
        "duplicate_id": 1,
        "empty_response": 1,
        "id_not_ref_or_tied": 1,
        "missing_prompt": 1,
        "not_one_right_answer": 1,
        "num_correct_is_not_that_of_chosen": 1,
        "replies_not_a_list": 1,
        "tied_without_two_right_answers": 1,
    }


def test_the_interval_of_the_ties_score_covers_its_value() -> None:
    random = np.random.default_rng(0)
    parts = [_ties(i, (random.random(3).tolist(), random.random(2).tolist()), (1.0, [0.5])) for i in range(15)]
    ties = _measured(*parts).metrics["ties"].estimate
    assert ties.low is not None
    assert ties.value is not None
    assert ties.high is not None
    assert ties.low < ties.value < ties.high
