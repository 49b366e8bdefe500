"""A failed score is no score: None, counted, and without harm to its neighbours."""

import math
from pathlib import Path

import pytest

from rl.rollout import Timed
from rl.scorer import Rewards, ScorerWorker, reward_model_factory
from tests.checkpoints import tiny_checkpoint
from tests.rl.tiny import FailsOn, ShareOfE
from wildreward.pairs import Completion
from wildreward.reward_model import RewardModel

PROMPTS = [[{"role": "user", "content": "one"}], [{"role": "user", "content": "two"}]]


def rollouts(*rows: list[str]) -> Timed:
    return Timed([[Completion(text, (1,), cut_off=False, version=0) for text in row] for row in rows], 0.0, 0)


def test_rewards_come_back_in_place() -> None:
    worker = ScorerWorker(ShareOfE, batch_tokens=100, threads=1)
    assert worker.score(PROMPTS, rollouts(["ee", "ex"], ["xx", "xe"])).value.rewards_PG == [[4.0, 2.5], [1.0, 2.5]]


def test_one_failure_takes_no_other_along() -> None:
    worker = ScorerWorker(lambda: FailsOn("bad"), batch_tokens=100, threads=1)
    rewards: Rewards = worker.score(PROMPTS, rollouts(["fine", "bad"], ["good", "this"])).value
    assert rewards.rewards_PG == [[2.0, None], [2.0, 2.0]]
    assert rewards.failures == {"DataError: this one cannot be scored": 1}


def test_an_empty_completion_is_not_scored_and_not_a_failure() -> None:
    worker = ScorerWorker(ShareOfE, batch_tokens=100, threads=1)
    rewards: Rewards = worker.score(PROMPTS, rollouts(["", "e"], ["", ""])).value
    assert rewards.rewards_PG == [[None, 4.0], [None, None]]
    assert not rewards.failures


def test_the_reward_model_reads_prompt_and_reply(tmp_path: Path) -> None:
    path = str(tiny_checkpoint(tmp_path / "reward"))
    worker = ScorerWorker(reward_model_factory(path, "cpu", "float32", None, False), batch_tokens=512, threads=1)
    found = worker.score(PROMPTS, rollouts(["a reply"], ["another"])).value.rewards_PG
    conversation = [*PROMPTS[1], {"role": "assistant", "content": "another"}]
    assert found[1][0] == pytest.approx(RewardModel.load(path).score([conversation])[0].score, abs=1e-5)
    assert all(math.isfinite(row[0]) for row in found)
