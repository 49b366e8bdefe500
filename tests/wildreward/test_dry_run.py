"""The table of a dry run: every number with the assumption it rests on."""

from collections import Counter
from typing import Any

from wildreward.dry_run import Questions, expected, report
from wildreward.settings.label import LabelSettings

FOUND = Questions(Counter({"kept": 8, "no_follow_up": 1, "quarantined: bad_json": 1}), 20, 10_000, 4, 1_600)
OPENAI: dict[str, Any] = {"judge": "openai", "dry_run": True}
PRICES = {"usd_per_million_input": 100.0, "usd_per_million_output": 1000.0}


def test_parts_of_the_input_add_up_and_survive_being_written_down() -> None:
    whole = Questions()
    for part in (FOUND, FOUND):
        whole.merge(Questions.from_row(part.as_row()))
    assert (whole.turns, whole.conversations["kept"], whole.quarantined) == (40, 16, 2)


def test_refusal_questions_are_the_negative_share_of_what_looks_like_one() -> None:
    guess = expected(FOUND, LabelSettings(**OPENAI, **PRICES, assumed_negative_frac=0.5, assumed_answer_tokens=10))
    assert (guess.refusal_questions, guess.prompt_tokens, guess.completion_tokens) == (2, 10_800, 220)
    assert guess.usd == 1.3


def test_an_answer_is_no_longer_than_it_may_be() -> None:
    assert (
        expected(FOUND, LabelSettings(**OPENAI, assumed_negative_frac=0, judge_max_tokens=8)).completion_tokens == 160
    )


def test_the_report_names_its_assumptions() -> None:
    said = report(FOUND, LabelSettings(**OPENAI, **PRICES, limit=10, sample_frac=0.5, seed=3), "counted with X")
    for part in (
        "nothing was asked, nothing was written",
        "the first 10 of a sample of 0.5 with seed 3",
        "4 replies look like refusals, 0.17 get negative feedback (--assumed-negative-frac); at most 4",
        "counted with X",
        "40 an answer (--assumed-answer-tokens); at most 256",
        "1.85 USD",
    ):
        assert part in said
    assert "would stop" not in said


def test_a_run_that_would_stop_is_announced_and_the_lexicon_costs_nothing() -> None:
    said = report(FOUND, LabelSettings(dry_run=True, max_quarantined_frac=0.05), "")
    assert "the run would stop: 10.0% are quarantined" in said
    assert "no tokens, no price" in said
    assert "refusal_validation is off" in report(FOUND, LabelSettings(refusal_validation=False), "")
