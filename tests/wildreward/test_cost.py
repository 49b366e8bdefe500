"""What a run cost."""

import pytest

from wildreward.cost import Spent, cost_lines
from wildreward.errors import UsageError
from wildreward.settings.label import LabelSettings

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 10.0}
OPENAI = {"judge": "openai", "judge_model": "m", "judge_url": "http://127.0.0.1:1/v1"}


def test_judgements_that_were_taken_back_are_paid_for_too() -> None:
    judge = {"attempts": 100, "prompt_tokens": 2_000_000, "completion_tokens": 100_000, "refusal_errors": 1}
    discarded = {"attempts": 10, "prompt_tokens": 1_000_000, "completion_tokens": 0, "conversations": 3}
    spent = Spent.of_run(judge, discarded, LabelSettings.parse(OPENAI | PRICES))
    assert spent == Spent(110, 3_000_000, 100_000, 10, 4.0)
    [line] = cost_lines(spent.summary())
    assert "110 requests (10 of them taken back)" in line
    assert line.endswith("4.00 USD")


def test_without_prices_there_is_no_price_and_the_lexicon_asks_nobody() -> None:
    assert Spent.of_run({"attempts": 5}, {}, LabelSettings.parse(OPENAI)).usd is None
    spent = Spent.of_run({"attempts": 5}, {}, LabelSettings.parse(PRICES))
    assert spent == Spent(0, 0, 0, 0, 0.0)
    assert cost_lines(spent.summary()) == ["judge: no requests"]


def test_one_price_needs_the_other() -> None:
    with pytest.raises(UsageError, match="usd_per_million_output: required"):
        LabelSettings.parse({"usd_per_million_input": 1.0})
