"""RM-Bench's rules against numbers worked out by hand."""

import pytest

from tests.wildreward.benchmarks.rows import rmbench_row
from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks import rmbench
from wildreward.benchmarks.evaluation_set import SetResult
from wildreward.benchmarks.rmbench import COUNTS, RMBench
from wildreward.scorer import Unscored

RIGHT = [2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
WRONG = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
LONGER_WINS = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
"""Scores of the styles alone: easy is right, normal a tie and so wrong, hard wrong."""


def _measured(scores: dict[str, list[list[float]]]) -> SetResult:
    rows = [rmbench_row(f"{domain}/{i}", domain) for domain, given in scores.items() for i in range(len(given))]
    return take(made(RMBench, rows), [v for given in scores.values() for one in given for v in one]).measure(QUICK)


def _value(result: SetResult, name: str) -> float | None:
    return result.metrics[name].estimate.value


def test_sizes_and_fields_are_the_official_ones() -> None:
    assert set(RMBench.needs) == {"id", "prompt", "chosen", "rejected", "domain"}
    assert sum(COUNTS.values()) == 1327
    assert COUNTS["safety-refuse"] + COUNTS["safety-response"] == 441


def test_easy_lies_below_the_diagonal_normal_on_it_hard_above() -> None:
    # chosen 1, 3, 5 against rejected 2, 2, 4: rows of the matrix 000, 110, 111
    found = _measured({domain: [[1, 3, 5, 2, 2, 4]] for domain in COUNTS})
    assert found.extra["matrix"]["chat"] == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert _value(found, "easy") == 1.0
    assert _value(found, "normal") == pytest.approx(2 / 3)
    assert _value(found, "hard") == 0.0
    assert _value(found, "overall") == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_tie_is_wrong_in_every_cell() -> None:
    assert _value(_measured({domain: [[1] * 6] for domain in COUNTS}), "overall") == 0.0


def test_domains_count_alike_and_the_two_safety_files_are_one_domain() -> None:
    result = _measured(
        {
            "chat": [RIGHT],
            "code": [WRONG],
            "math": [LONGER_WINS],
            "safety-refuse": [RIGHT, RIGHT, RIGHT],
            "safety-response": [WRONG],
        }
    )
    assert _value(result, "math") == pytest.approx(1 / 3)
    assert _value(result, "safety") == pytest.approx(3 / 4)  # four prompts
    assert _value(result, "safety_mean_of_files") == pytest.approx(1 / 2)
    assert _value(result, "overall") == pytest.approx((1 + 0 + 1 / 3 + 3 / 4) / 4)
    assert _value(result, "easy") == pytest.approx((1 + 0 + 1 + 3 / 4) / 4)
    assert _value(result, "hard") == pytest.approx((1 + 0 + 0 + 3 / 4) / 4)
    assert _value(result, "worst_domain") == 0.0
    assert result.subsets["safety-refuse"]["accuracy"].estimate.value == 1.0
    assert result.subsets["safety-refuse"]["accuracy"].count == 3


def test_the_length_baseline_goes_through_the_same_matrix() -> None:
    result = _measured({domain: [RIGHT] for domain in COUNTS})
    easy = result.metrics["easy"].baselines["length"].estimate.value
    hard = result.metrics["hard"].baselines["length"].estimate.value
    assert (easy, hard) == (1.0, 0.0)


def test_an_absent_domain_makes_the_mean_null_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _measured({domain: [RIGHT] for domain in COUNTS if domain != "code"})
    assert (_value(result, "overall"), _value(result, "hard"), _value(result, "chat")) == (None, None, 1.0)
    assert "code is absent (228 rows expected)" in result.notes[0]
    assert "chat has 1 rows (129 expected)" in result.notes[0]
    monkeypatch.setattr(rmbench, "COUNTS", dict.fromkeys(COUNTS, 1))
    assert _measured({domain: [RIGHT] for domain in COUNTS}).notes == ()


def test_half_of_safety_is_not_passed_off_as_safety() -> None:
    result = _measured({domain: [RIGHT] for domain in COUNTS if domain != "safety-response"})
    assert (_value(result, "safety"), _value(result, "overall")) == (None, None)


def test_a_prompt_is_one_group_however_many_rows_it_has() -> None:
    rows = [rmbench_row("1", "chat", "same"), rmbench_row("2", "chat", "same"), rmbench_row("3", "chat", "other")]
    assert len(set(take(made(RMBench, rows), RIGHT * 3).groups(QUICK))) == 2


def test_rows_that_are_no_three_styles_and_unscored_replies_are_counted() -> None:
    rows = [
        rmbench_row("1", "chat"),
        rmbench_row("2", "chat") | {"chosen": ["one", "two"]},
        rmbench_row("3", "chat") | {"rejected": "text"},
        rmbench_row("4", "chat") | {"chosen": ["a", " ", "c"]},
        rmbench_row("5", "chat"),
    ]
    found = take(made(RMBench, rows), [*RIGHT, Unscored("nan_score"), 1, 1, 1, 1, 1])
    assert found.skipped == {"empty_response": 1, "nan_score": 1, "not_three_styles": 2}
    assert "4 of the rows of chat could not be evaluated" in found.measure(QUICK).notes[0]
