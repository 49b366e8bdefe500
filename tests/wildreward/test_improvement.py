"""Before and after, compared prompt by prompt."""

import pytest

from wildreward.improvement import improvement, mean_reward


def test_a_constant_gain_has_an_interval_of_no_width() -> None:
    before = [[1.0], [2.0], [3.0]]
    result = improvement(before, [[row[0] + 0.5] for row in before])
    assert (result.difference.mean, result.difference.low, result.difference.high) == (0.5, 0.5, 0.5)
    assert result.win_rate.mean == 1.0


def test_no_change_is_a_draw() -> None:
    result = improvement([[1.0], [2.0]], [[1.0], [2.0]])
    assert (result.difference.mean, result.win_rate.mean) == (0.0, 0.5)


def test_prompts_without_a_reward_on_either_side_are_left_out_and_counted() -> None:
    result = improvement([[1.0], [None], [2.0, None]], [[2.0], [3.0], [4.0, 4.0]])
    assert (result.prompts, result.prompts_without_reward) == (2, 1)
    assert result.difference.mean == pytest.approx(1.5)


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="no prompt has a reward"):
        improvement([[None]], [[1.0]])
    with pytest.raises(ValueError, match="1 prompts before"):
        improvement([[1.0]], [[1.0], [2.0]])


def test_the_interval_holds_the_mean_and_depends_only_on_the_seed() -> None:
    rewards = [[float(value)] for value in range(10)]
    result = mean_reward(rewards, seed=1)
    assert result.low < result.mean < result.high
    assert mean_reward(rewards, seed=1) == result
