"""Rewards from a real Serve application on the same cluster: the handle gives what own actors give."""

import json
from pathlib import Path
from typing import Any

import pytest
from ray import serve as ray_serve

from rl.lines import read_lines
from rl.program import run
from rl.rollout import Timed
from rl.scorer import Rewards, ScorerWorker
from serve.program import start as start_serving
from serve.program import stop
from serve.served_scorer import ServedScorer
from tests.checkpoints import tiny_checkpoint
from tests.rl.tiny import prompts_file, settings
from wildreward.errors import UsageError, WildrewardError
from wildreward.pairs import Completion
from wildreward.reward_model import RewardModel
from wildreward.settings.serve import ServeSettings

APP = "rewards"


@pytest.mark.usefixtures("ray_cluster")
def test_the_handle_gives_the_rewards_of_the_model_and_its_absence_is_told(start: Path, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "reward")
    prompts_file(tmp_path)
    given = settings(tmp_path, policy=str(start), steps=1, checkpoint="", handle=APP)
    common: dict[str, Any] = {"app_name": APP, "route_prefix": f"/{APP}", "cpus_per_replica": 0.1}
    serving = ServeSettings(checkpoint=str(checkpoint), port=0, too_long="reject", **common)
    start_serving(serving)
    try:
        run(given)
        with pytest.raises(UsageError, match="this is the scorer that gives the rewards"):
            run(given.model_copy(update={"eval_handle": APP, "output": str(tmp_path / "twice")}))
        a_text_that_is_refused()
    finally:
        others = set(ray_serve.status().applications) - {APP}
        ray_serve.delete(APP) if others else stop(APP)  # stop takes Serve with it, where another test still uses it
    model = RewardModel.load(checkpoint)
    for row in read_lines(Path(given.output) / "samples.jsonl"):
        written = [item for item in row["completions"] if item["text"]]
        replies = [{"role": "assistant", "content": item["text"]} for item in written]
        expected = model.score([[*row["messages"], reply] for reply in replies])
        assert [item["reward"] for item in written] == pytest.approx([score.score for score in expected], abs=1e-4)
    assert json.loads((Path(given.output) / "summary.json").read_text())["scorers"]["reward"]["handle"] == APP
    with pytest.raises(WildrewardError, match=f"--handle {APP}: no scorer answers there"):
        run(given.model_copy(update={"output": str(tmp_path / "gone")}))


def a_text_that_is_refused() -> None:
    """Has no score; its neighbours have theirs."""
    worker = ScorerWorker(ServedScorer(handle=APP).load, threads=1)
    texts = ["fine", "x " * 400, "fine too"]
    rollouts = Timed([[Completion(text, (1,), cut_off=False, version=0) for text in texts]], 0.0, 0)
    rewards: Rewards = worker.score([[{"role": "user", "content": "q"}]], rollouts).value
    assert [reward is None for reward in rewards.rewards_PG[0]] == [False, True, False]
    assert sum(rewards.failures.values()) == 1
    assert next(iter(rewards.failures)).startswith("refused_")


@pytest.mark.usefixtures("ray_cluster")
def test_an_application_that_is_not_there_fails_every_score_at_once() -> None:
    worker = ScorerWorker(ServedScorer(handle="nobody", attempts=1).load, threads=1)
    rollouts = Timed([[Completion("a", (1,), cut_off=False, version=0)] * 3], 0.0, 0)
    rewards: Rewards = worker.score([[{"role": "user", "content": "q"}]], rollouts).value
    assert rewards.rewards_PG == [[None, None, None]]
    assert sum(rewards.failures.values()) == 3
    assert "no application nobody" in next(iter(rewards.failures))
