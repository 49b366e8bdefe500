"""A failed score is no score: None, counted, and without harm to its neighbours."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from rl.rollout import Timed
from rl.scorer import Rewards, ScorerWorker, reward_model_factory
from rl.start_checks import check_scale, check_words
from tests.checkpoints import tiny_checkpoint
from tests.rl.tiny import FailsOn, ShareOfE, settings
from wildreward.callable_scorer import CallableScorer
from wildreward.errors import CheckpointError, UsageError
from wildreward.pairs import Completion
from wildreward.prompt_store import PolicyPrompt
from wildreward.prompts import prompts_of_row
from wildreward.reward_model import RewardModel

if TYPE_CHECKING:
    from rl.roles import Roles

PROMPTS = [[{"role": "user", "content": "one"}], [{"role": "user", "content": "two"}]]


def rollouts(*rows: list[str]) -> Timed:
    return Timed([[Completion(text, (1,), cut_off=False, version=0) for text in row] for row in rows], 0.0, 0)


def test_rewards_come_back_in_place() -> None:
    worker = ScorerWorker(ShareOfE, threads=1)
    assert worker.score(PROMPTS, rollouts(["ee", "ex"], ["xx", "xe"])).value.rewards_PG == [[4.0, 2.5], [1.0, 2.5]]


def test_one_failure_takes_no_other_along() -> None:
    worker = ScorerWorker(lambda: FailsOn("bad"), threads=1)
    rewards: Rewards = worker.score(PROMPTS, rollouts(["fine", "bad"], ["good", "this"])).value
    assert rewards.rewards_PG == [[2.0, None], [2.0, 2.0]]
    assert rewards.failures == {"DataError: this one cannot be scored": 1}


def test_an_empty_completion_is_not_scored_and_not_a_failure() -> None:
    worker = ScorerWorker(ShareOfE, threads=1)
    rewards: Rewards = worker.score(PROMPTS, rollouts(["", "e"], ["", ""])).value
    assert rewards.rewards_PG == [[None, 4.0], [None, None]]
    assert not rewards.failures


def test_the_reward_model_reads_prompt_and_reply(tmp_path: Path) -> None:
    path = str(tiny_checkpoint(tmp_path / "reward"))
    worker = ScorerWorker(reward_model_factory(path, "cpu", "float32", None, False), threads=1)
    found = worker.score(PROMPTS, rollouts(["a reply"], ["another"])).value.rewards_PG
    conversation = [*PROMPTS[1], {"role": "assistant", "content": "another"}]
    assert found[1][0] == pytest.approx(RewardModel.load(path).score([conversation])[0].score, abs=1e-5)
    assert all(math.isfinite(row[0]) for row in found)


def test_a_rule_that_raises_gives_no_score_and_says_where() -> None:
    worker = ScorerWorker(CallableScorer("tests.rl.rules:raises_on_e", ".").load, threads=1)
    rewards: Rewards = worker.score(PROMPTS, rollouts(["an e", "fin"], ["good", "this"])).value
    assert rewards.rewards_PG == [[None, 1.0], [1.0, 1.0]]
    [reason] = rewards.failures
    assert "raised KeyError: 'no e, please' (rules.py, line" in reason


def test_a_score_that_is_not_a_number_is_none() -> None:
    worker = ScorerWorker(CallableScorer("tests.rl.rules:not_a_number", ".").load, threads=1)
    rewards: Rewards = worker.score(PROMPTS[:1], rollouts(["one", "another"])).value
    assert rewards.rewards_PG == [[None, None]]
    assert rewards.failures == {"nan_score: score is nan": 2}


def test_what_the_reward_model_did_not_read_is_counted(tmp_path: Path) -> None:
    path = str(tiny_checkpoint(tmp_path / "reward"))
    worker = ScorerWorker(reward_model_factory(path, "cpu", "float32", None, False), threads=1)
    history = [{"role": "user", "content": "word " * 200}]
    rewards: Rewards = worker.score([history], rollouts(["short", "long " * 200])).value
    assert (rewards.replies_cut, rewards.prompts_cut) == (1, 2)


def test_the_share_of_unknown_tokens_is_of_the_reward_model_s_own_tokenizer(tmp_path: Path) -> None:
    path = str(tiny_checkpoint(tmp_path / "reward"))
    worker = ScorerWorker(reward_model_factory(path, "cpu", "float32", None, False), threads=1)
    assert worker.unknown_frac(["plain words", "and more"]) == 0
    assert worker.unknown_frac(["ቀን ሌሊት 3"]) == pytest.approx(2 / 3)
    assert ScorerWorker(ShareOfE, threads=1).unknown_frac(["a"]) is None


def test_a_reward_model_that_cannot_read_the_language_is_refused(tmp_path: Path) -> None:
    class Asked:
        def unknown_frac(self, texts: list[str]) -> float:
            return 0.67

    [prompt] = prompts_of_row({"prompt": "ቀን ሌሊት 3"})
    with pytest.raises(CheckpointError, match="its tokenizer does not know 67% of the held-out prompts' tokens"):
        check_words(settings(tmp_path, policy="p"), cast("Roles", Asked()), [PolicyPrompt(prompt, (1,))])


def test_a_reward_gap_that_the_scale_does_not_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tiny_checkpoint(tmp_path / "reward"))
    described = ScorerWorker(reward_model_factory(path, "cpu", "float32", None, False), threads=1).describe()
    given = settings(tmp_path, policy="p")
    check_scale(given, described)
    assert "head coral, num_classes 4, template plain, max_tokens 128\n" in capsys.readouterr().out
    check_scale(given.model_copy(update={"max_new_tokens": 200}), described)
    assert "the end of a long completion has no say" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"--min-reward-gap 3\.0: rewards of this scorer lie between 1 and 4"):
        check_scale(given.model_copy(update={"min_reward_gap": 3.0}), described)
