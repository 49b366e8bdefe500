"""Reward functions for TRL, OpenRLHF and verl; TRL's trainer runs for real, over a scorer that runs."""

import asyncio
import importlib.util
import json
import logging
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serve.adapters import AsyncTrlReward, TrlReward
from serve.client import HttpClient
from serve.examples.verl_reward import compute_score
from serve.schema import RequestError
from tests.serve.conftest import LocalScorer
from tests.serve.test_engine import FP32_TOLERANCE
from wildreward.policies import new_policy
from wildreward.reward_model import RewardModel

ROOT = Path(__file__).parents[2]
QUESTION = [{"role": "user", "content": "a question"}]
ANSWER = [{"role": "assistant", "content": "an answer"}]


def logs(**_: Any) -> dict[str, Any]:
    """What GRPO and RLOO pass besides the columns."""
    return {"log_extra": lambda *_: None, "log_metric": lambda *_: None, "trainer_state": None}


def called(reward: Any, *arguments: Any, **context: Any) -> Any:
    answer = reward(*arguments, **context)
    return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


BOTH = pytest.mark.parametrize("adapter", [TrlReward, AsyncTrlReward])


@BOTH
def test_plain_and_conversational_prompts_get_the_same_scores(
    adapter: Any, local_scorer: LocalScorer, model: RewardModel
) -> None:
    url = local_scorer()
    reward = pickle.loads(pickle.dumps(adapter(url)))
    wanted = [score.score for score in model.score([[*QUESTION, *ANSWER]] * 2)]
    for prompts, completions in (([QUESTION] * 2, [ANSWER] * 2), (["a question"] * 2, ["an answer"] * 2)):
        got = called(reward, prompts=prompts, completions=completions, completion_ids=[[1], [2]], column=["x", "y"])
        assert got == pytest.approx(wanted, abs=FP32_TOLERANCE)
    again = pickle.loads(pickle.dumps(reward))  # with a client inside, in another process: its own client
    assert called(again, ["a question"], ["an answer"]) == pytest.approx(wanted[:1], abs=FP32_TOLERANCE)
    assert reward.__name__ == "wildreward"


@BOTH
def test_a_completion_without_a_score_raises_or_is_none_where_the_trainer_leaves_it_out(
    adapter: Any, local_scorer: LocalScorer
) -> None:
    url = local_scorer()
    prompts, completions = ["q"] * 5, ["one", "", "three", " ", "five"]
    with pytest.raises(RequestError, match="the reply to score is empty"):
        called(adapter(url), prompts, completions, **logs())
    metrics: dict[str, float] = {}
    context = logs() | {"log_metric": metrics.__setitem__}
    got = called(adapter(url, unscored="none"), prompts, completions, **context)
    assert [score is None for score in got] == [False, True, False, True, False]
    assert metrics["wildreward/unscored_frac"] == pytest.approx(0.4)
    assert metrics["wildreward/uncertainty"] > 0
    with pytest.raises(ValueError, match="2 of 5 completions have no score"):  # OnlineDPO would count None as 0
        called(adapter(url, unscored="none"), prompts, completions, trainer_state=None)


@BOTH
def test_an_outage_is_an_error_whatever_is_done_about_single_completions(adapter: Any) -> None:
    from serve.client import AsyncHttpClient
    from serve.patience import Retry

    client = HttpClient if adapter is TrlReward else AsyncHttpClient
    gone = adapter(partial(client, "http://127.0.0.1:9", retry=Retry(attempts=1)), unscored="none")
    with pytest.raises(RequestError, match="unavailable"):
        called(gone, ["q"], ["a"], **logs())


def test_content_that_is_no_text_is_refused() -> None:
    image: Any = [{"role": "user", "content": [{"type": "image"}]}]
    with pytest.raises(ValueError, match="found blocks of image"):
        TrlReward("http://127.0.0.1:9")([image], ["a"])


def test_the_grpo_example_trains_on_our_scores(
    local_scorer: LocalScorer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("trl")
    from serve.examples.trl_grpo import train

    policy, prompts = tmp_path / "policy", tmp_path / "prompts.jsonl"
    new_policy(policy, [[*QUESTION, *ANSWER]], vocabulary=300, hidden=32, layers=1, heads=2, max_tokens=128)
    prompts.write_text("".join(json.dumps({"prompt": QUESTION}) + "\n" for _ in range(4)))
    with caplog.at_level(logging.ERROR):
        steps = train(str(policy), str(prompts), local_scorer(), str(tmp_path / "out"), steps=2)
    assert len(steps) == 2
    for step in steps:
        assert 1 <= step["rewards/wildreward/mean"] <= 4
        assert step["rewards/wildreward/std"] > 0
        assert step["wildreward/unscored_frac"] < 1
        assert step["grad_norm"] > 0
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_rloo_takes_the_asynchronous_adapter_and_online_dpo_the_plain_one(
    local_scorer: LocalScorer, model: RewardModel, tmp_path: Path
) -> None:
    pytest.importorskip("trl")
    from datasets import Dataset
    from trl import RLOOConfig, RLOOTrainer
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    policy, url = str(tmp_path / "policy"), local_scorer()
    new_policy(policy, [[*QUESTION, *ANSWER]], vocabulary=300, hidden=32, layers=1, heads=2, max_tokens=128)
    rows = Dataset.from_list([{"prompt": QUESTION}] * 4)
    common: dict[str, Any] = {
        "max_steps": 1,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
    }
    rloo = RLOOConfig(
        str(tmp_path / "rloo"),
        num_generations=2,
        per_device_train_batch_size=2,
        max_completion_length=16,
        bf16=False,
        **common,
    )
    online = OnlineDPOConfig(
        str(tmp_path / "dpo"),
        max_new_tokens=16,
        per_device_train_batch_size=2,
        bf16=False,
        missing_eos_penalty=None,
        **common,
    )
    asynchronous: Any = AsyncTrlReward(url, unscored="none")  # TRL runs it; its type says functions that return lists
    trainer: Any = RLOOTrainer(policy, asynchronous, rloo, train_dataset=rows)
    empty = [{"role": "assistant", "content": ""}]
    wanted = model.score([[*QUESTION, *ANSWER]])[0].score
    # The trainers' own step from completions to rewards; GRPO's test above goes all the way.
    got = trainer._calculate_rewards([{"prompt": QUESTION}] * 2, [QUESTION] * 2, [ANSWER, empty], [[1], [2]])
    assert got[0, 0].item() == pytest.approx(wanted, abs=FP32_TOLERANCE)
    assert got[1, 0].isnan()  # left out of the loss

    dpo: Any = OnlineDPOTrainer(
        policy, reward_funcs=TrlReward(url), args=online, train_dataset=rows, processing_class=_tokenizer(policy)
    )
    got = dpo._calculate_rewards_from_functions([QUESTION] * 2, [ANSWER] * 2, [[1], [2]])
    assert got.tolist() == pytest.approx([wanted] * 2, abs=FP32_TOLERANCE)
    dpo.reward_funcs = [TrlReward(url, unscored="none")]
    with pytest.raises(ValueError, match="does not leave such rows out"):
        dpo._calculate_rewards_from_functions([QUESTION], [empty], [[1]])


def _tokenizer(directory: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory)


def test_the_openrlhf_example_scores_the_conversation_and_not_the_rendered_text(
    local_scorer: LocalScorer, model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WILDREWARD_URL", local_scorer())
    monkeypatch.setenv("END_OF_REPLY", "<end>")
    path = ROOT / "serve" / "examples" / "openrlhf_reward.py"
    spec = importlib.util.spec_from_file_location("reward_func", path)  # as OpenRLHF loads it
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rendered = "<user>a question<assistant>"
    found = module.reward_func([f"{rendered}an answer<end><pad>"] * 2, [rendered] * 2, [QUESTION, json.dumps(QUESTION)])
    wanted = model.score([[*QUESTION, *ANSWER]])[0]
    assert found["rewards"].tolist() == pytest.approx([wanted.score] * 2, abs=FP32_TOLERANCE)
    assert found["scores"].tolist() == pytest.approx([(wanted.score - 1) / 3] * 2, abs=FP32_TOLERANCE)
    assert found["extra_logs"]["uncertainty"].tolist() == pytest.approx([wanted.uncertainty] * 2, abs=FP32_TOLERANCE)
    for query, label, said in (("other text", QUESTION, "does not begin"), (rendered + "x", None, "label_key")):
        with pytest.raises(ValueError, match=said):
            module.reward_func([query], [rendered], [label])


def test_the_verl_example_scores_one_completion_a_call(
    local_scorer: LocalScorer, model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WILDREWARD_URL", local_scorer())

    async def step() -> list[dict[str, float]]:
        row: dict[str, Any] = {
            "data_source": "chat",
            "ground_truth": "",
            "extra_info": {"messages": QUESTION, "num_turns": 2},
        }
        calls = [compute_score(solution_str=reply, **row) for reply in ("an answer", "another")]
        return await asyncio.gather(*calls)

    wanted = model.score([[*QUESTION, {"role": "assistant", "content": reply}] for reply in ("an answer", "another")])
    got = asyncio.run(step())
    assert [one["score"] for one in got] == pytest.approx([score.score for score in wanted], abs=FP32_TOLERANCE)
