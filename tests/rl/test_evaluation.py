"""Evaluations: against the start, by both scorers, and which of them is the best."""

from typing import Any

import pytest

from rl.checkpoints import State
from rl.evaluation import evaluation_metrics, in_words, is_best, take_in, warning_of
from rl.roles import Scored
from wildreward.errors import WildrewardError
from wildreward.pairs import Completion

P = 8


def scored(reward: float, second: float | None = None, text: str = "a") -> Scored:
    """P prompts with one completion each; rewards vary a little."""
    completions = [[Completion(text, (1, 2), cut_off=False, version=0)] for _ in range(P)]
    rewards = [[reward + place / 100 if text else None] for place in range(P)]
    others: Any = None if second is None else [[second + place / 100] for place in range(P)]
    return Scored([], 0, completions, rewards, second_PG=others)


def test_every_evaluation_is_against_the_first_by_both_scorers() -> None:
    state = State()
    start = take_in(state, scored(2.0, 0.5), seed=0)
    assert start["reward"].difference.mean == 0
    assert start["reward"].win_rate.mean == 0.5
    state.step = 4
    found = take_in(state, scored(2.5, 0.25), seed=0)
    assert found["reward"].difference.mean == pytest.approx(0.5)
    assert found["second"].difference.mean == pytest.approx(-0.25)
    metrics = evaluation_metrics(found, scored(2.5, 0.25))
    assert (metrics["eval/win_rate"], metrics["eval/second/win_rate"]) == (1.0, 0.0)
    assert metrics["eval/reward_low"] < metrics["eval/reward"] < metrics["eval/reward_high"]
    assert metrics["eval/tokens"] == 2
    assert "second 0.285" in in_words(4, found)


def test_a_reward_that_only_the_reward_model_sees_rise_is_called_out() -> None:
    state = State()
    take_in(state, scored(2.0, 0.5), seed=0)
    state.step = 4
    take_in(state, scored(2.5, 0.4), seed=0)
    assert "look for reward hacking" in (warning_of(state.evaluations[4]) or "")
    take_in(state, scored(2.5, 0.6), seed=0)
    assert warning_of(state.evaluations[4]) is None


def test_the_best_is_by_the_scorer_that_was_asked_for_and_never_the_start() -> None:
    state = State()
    take_in(state, scored(2.0, 2.0), seed=0)
    assert not is_best(state, "reward")
    best: dict[str, list[int]] = {"reward": [], "second": []}
    for name, steps in best.items():
        state.best = None
        for step, (reward, second) in enumerate([(1.9, 1.0), (2.5, 0.5), (2.4, 1.5), (2.5, 0.0)], start=1):
            state.step = step
            take_in(state, scored(reward, second), seed=0)
            if is_best(state, name):
                state.best = step
                steps.append(step)
    assert best == {"reward": [1, 2], "second": [1, 3]}


def test_a_policy_that_writes_nothing_any_more_is_told_apart() -> None:
    state = State()
    take_in(state, scored(2.0), seed=0)
    with pytest.raises(WildrewardError, match=r"by the reward model: no prompt has a reward \(8 of 8 .* are empty\)"):
        take_in(state, scored(0.0, text=""), seed=0)
