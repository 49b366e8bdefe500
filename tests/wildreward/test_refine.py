"""From evidence to levels: refusal verdicts and hindsight."""

from typing import Any

import pytest

from wildreward.refine import RefinedTurn, refine
from wildreward.settings.label import LabelSettings


def turn(number: int, level: int | None, **extra: Any) -> dict[str, Any]:
    evidence = {"refusal_verdict": None, "refusal_error": None, "similarities": None}
    return {"turn": number, "level": level} | evidence | extra


def refined(*turns: dict[str, Any], **settings: Any) -> list[RefinedTurn]:
    return refine({"turns": list(turns)}, LabelSettings(**settings))


@pytest.mark.parametrize(
    ("verdict", "level", "source"), [(0, 1, "explicit"), (1, 5, "refusal"), (2, 1, "explicit"), (None, 1, "explicit")]
)
def test_only_a_justified_refusal_turns_a_complaint_around(verdict: int | None, level: int, source: str) -> None:
    (result,) = refined(turn(0, 1, refusal_verdict=verdict))
    assert (result.level, result.judged_level, result.source) == (level, 1, source)


def test_a_refusal_that_could_not_be_verified_is_dropped_and_named() -> None:
    (result,) = refined(turn(0, 2, refusal_error="timeout"))
    assert (result.level, result.judged_level, result.dropped) == (None, 2, "refusal_unverified")


def test_refusal_evidence_is_ignored_when_validation_is_off() -> None:
    (result,) = refined(turn(0, 1, refusal_verdict=1), refusal_validation=False)
    assert result.level == 1


def test_a_neutral_turn_takes_its_donors_level_and_names_it() -> None:
    similar = [{"turn": 2, "cosine": 0.8}]
    first, second, third = refined(turn(0, 3, similarities=similar), turn(1, None), turn(2, 4))
    assert first == RefinedTurn(0, 4, 3, "hindsight", 2)
    assert (second.level, second.judged_level, second.dropped) == (None, None, None)
    assert third == RefinedTurn(2, 4, 4, "explicit")


def test_hindsight_off_leaves_neutral_turns_neutral() -> None:
    similar = [{"turn": 1, "cosine": 0.9}]
    first, _ = refined(turn(0, 3, similarities=similar), turn(1, 5), hindsight_window_turns=0)
    assert (first.level, first.source) == (3, "explicit")


def test_a_complaint_about_a_justified_refusal_lends_nothing_and_still_blocks() -> None:
    similar = [{"turn": 1, "cosine": 0.9}, {"turn": 2, "cosine": 0.9}]
    first, second, _ = refined(turn(0, 3, similarities=similar), turn(1, 1, refusal_verdict=1), turn(2, 5))
    assert (first.level, second.level) == (3, 5)


def test_each_neutral_turn_is_used_once_and_a_positive_may_lend_to_both_before_it() -> None:
    near, far = [{"turn": 1, "cosine": 0.9}, {"turn": 2, "cosine": 0.9}], [{"turn": 2, "cosine": 0.9}]
    two_donors = refined(turn(0, 3, similarities=near), turn(1, 4), turn(2, 5))
    assert [(r.turn, r.level, r.donor_turn) for r in two_donors] == [(0, 4, 1), (1, 4, None), (2, 5, None)]
    one_donor = refined(turn(0, 3, similarities=far), turn(1, 3, similarities=far), turn(2, 5))
    assert [(r.turn, r.level, r.donor_turn) for r in one_donor] == [(0, 5, 2), (1, 5, 2), (2, 5, None)]
