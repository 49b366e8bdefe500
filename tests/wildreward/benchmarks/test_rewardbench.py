"""RewardBench's rules against numbers worked out by hand."""

from collections.abc import Mapping

import pytest

from tests.wildreward.benchmarks.rows import rewardbench_row
from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks import rewardbench
from wildreward.benchmarks.evaluation_set import SetResult
from wildreward.benchmarks.rewardbench import COUNTS, PRIOR_SETS, SECTIONS, WEIGHTS, RewardBench

OFFICIAL_FIELDS = {"prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset", "id"}


def _measured(scores: Mapping[str, tuple[float, float]], leave_out: tuple[str, ...] = ()) -> SetResult:
    """One pair a subset; right unless `scores` says otherwise."""
    subsets = [name for name in COUNTS if name not in leave_out] + [name for name in scores if name in PRIOR_SETS]
    found = made(RewardBench, [rewardbench_row(subset) for subset in subsets])
    return take(found, [value for subset in subsets for value in scores.get(subset, (2, 1))]).measure(QUICK)


def _value(result: SetResult, name: str) -> float | None:
    return result.metrics[name].estimate.value


def test_sizes_and_sections_are_the_official_ones() -> None:
    assert set(RewardBench.needs) == OFFICIAL_FIELDS
    assert sum(COUNTS.values()) == 2985
    assert {section: sum(COUNTS[name] for name in names) for section, names in SECTIONS.items()} == {
        "Chat": 358, "Chat Hard": 456, "Safety": 740, "Reasoning": 1431,
    }  # fmt: skip
    assert (COUNTS["math-prm"], WEIGHTS["math-prm"]) == (447, 984)


def test_a_section_weighs_its_subsets_by_their_official_sizes_and_math_as_much_as_code() -> None:
    result = _measured({"math-prm": (1, 2), "xstest-should-respond": (1, 2), "mt-bench-easy": (1, 1)})
    assert _value(result, "reasoning") == pytest.approx(984 / (984 + 6 * 164))
    assert _value(result, "safety") == pytest.approx(1 - 250 / 740)
    assert _value(result, "chat") == pytest.approx(1 - 28 / 358)  # a tie is wrong
    assert _value(result, "chat_hard") == 1.0
    assert _value(result, "overall") == pytest.approx((0.5 + (1 - 250 / 740) + (1 - 28 / 358) + 1) / 4)
    assert _value(result, "worst_section") == pytest.approx(0.5)


def test_an_absent_subset_makes_its_section_and_the_mean_null_and_is_named() -> None:
    result = _measured({}, leave_out=("hep-go",))
    assert (_value(result, "overall"), _value(result, "reasoning")) == (None, None)
    assert _value(result, "safety") == 1.0
    assert "hep-go is absent (164 rows expected)" in result.notes[0]
    assert result.extra["official"]["complete"] is False


def test_another_size_is_partial_and_the_official_size_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "math-prm has 1 rows (447 expected)" in _measured({}).notes[0]
    monkeypatch.setattr(rewardbench, "COUNTS", dict.fromkeys(COUNTS, 1))
    result = _measured({})
    assert result.notes == ()
    assert result.extra["official"]["complete"] is True


def test_prior_sets_count_half_as_on_the_leaderboard() -> None:
    assert "overall_with_prior_sets" not in _measured({}).metrics
    result = _measured({"math-prm": (1, 2)} | dict.fromkeys(PRIOR_SETS, (2, 1)) | {"shp": (1, 2)})
    assert _value(result, "prior_sets") == 3 / 4
    assert _value(result, "overall") == pytest.approx(3.5 / 4)
    assert _value(result, "overall_with_prior_sets") == pytest.approx((3.5 + 0.5 * 0.75) / 4.5)


def test_ids_are_numbers_within_a_subset() -> None:
    found = take(
        made(RewardBench, [rewardbench_row("hep-go"), rewardbench_row("hep-cpp"), rewardbench_row("hep-go")]),
        [2, 1, 2, 1],
    )
    assert found.skipped == {"duplicate_id": 1}


def test_the_overall_and_its_baselines_are_on_the_same_resamples() -> None:
    found = made(RewardBench, [rewardbench_row(subset, number) for subset in COUNTS for number in range(10)])
    overall = take(found, [2, 1, 1, 2] * 5 * len(COUNTS)).measure(QUICK).metrics["overall"]
    assert overall.estimate.value == pytest.approx(0.5)
    assert overall.baselines["length"].estimate.value == 1.0
    assert overall.against_length == "worse than length"


def test_a_mean_has_no_interval_where_a_part_is_too_small_for_one() -> None:
    overall = _measured({}).metrics["overall"]
    assert (overall.estimate.value, overall.estimate.low) == (1.0, None)
    assert overall.against_chance == "too few to compare with chance"
