"""Reward clients of other systems, unchanged, against our scorer: their wire format, transcribed to its smallest form.

OpenRLHF, openrlhf/utils/remote_rm_utils.py (9b8641c1, `remote_rm_fn`) and openrlhf/utils/agent.py
(`_fetch_rewards_via_http` and what `SingleTurnAgentExecutor` reads of it). WildReward (THU-KEG/WildReward 44e0997d),
online_dpo/verl/utils/reward_score/remote_wild_rm.py (`batch_request`) and remote_hf_rm.py (`compute_score`).
They retry on any error; here the first answer must be right.
"""

import asyncio
import json
from typing import Any

import aiohttp
import httpx2
import pytest

from tests.serve.conftest import LocalScorer
from tests.serve.test_engine import FP32_TOLERANCE
from wildreward.reward_model import RewardModel

QUERIES = ["user: a question assistant: an answer", "user: another assistant: more words than before"]
PROMPTS = ["user: a question assistant:", "user: another assistant:"]


def expected(model: RewardModel) -> list[float]:
    return [s.score for s in model.score_encoded([model.template.encode_text(q, model.tokenizer) for q in QUERIES])]


def openrlhf_remote_rm_fn(api_url: str, queries: list[str], prompts: list[str], labels: list[Any]) -> list[float]:
    data = {"query": queries, "prompts": prompts, "labels": labels}
    response = httpx2.post(url=api_url, json=data, headers={"Content-Type": "application/json"}, timeout=180)
    response.raise_for_status()
    answer = response.json()
    assert "rewards" in answer
    return answer["rewards"]


async def openrlhf_agent(endpoint: str, query: str, prompt: str, label: Any) -> dict[str, Any]:
    """One query at a time; reward, score and logs are read with `.get`."""
    payload = {"query": [query], "prompts": [prompt], "labels": [label]}
    timeout = aiohttp.ClientTimeout(total=180)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.post(endpoint, json=payload) as response:
        response.raise_for_status()
        info = await response.json()
    scores = info.get("scores") or info.get("rewards")
    return {"reward": info.get("rewards"), "scores": scores, "extra_logs": info.get("extra_logs") or {}}


def wildreward_batch_request(api_url: str, texts: list[str]) -> list[float]:
    response = httpx2.post(
        api_url, headers={"Content-Type": "application/json"}, content=json.dumps({"query": texts}), timeout=600
    )
    return response.json()["rewards"]


def wildreward_hf_compute_score(url: str, prompt: str, solution: str) -> float:
    """Its query is a list of conversations."""
    query = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": solution}]]
    data = {"query": query, "prompts": [prompt]}
    response = httpx2.post(url, json=data, headers={"Content-Type": "application/json"}, timeout=30)
    response.raise_for_status()
    return response.json()["rewards"][0]


@pytest.mark.parametrize("labels", [["x", "y"], [None, None], [{"gold": 1}, 3.5]])
def test_openrlhfs_remote_reward_function(local_scorer: LocalScorer, model: RewardModel, labels: list[Any]) -> None:
    rewards = openrlhf_remote_rm_fn(f"{local_scorer()}/get_reward", QUERIES, PROMPTS, labels)
    assert rewards == pytest.approx(expected(model), abs=FP32_TOLERANCE)


def test_openrlhfs_agent_reads_rewards_scores_and_logs(local_scorer: LocalScorer, model: RewardModel) -> None:
    found = asyncio.run(openrlhf_agent(f"{local_scorer()}/get_reward", QUERIES[0], PROMPTS[0], None))
    wanted = expected(model)[0]
    assert found["reward"] == pytest.approx([wanted], abs=FP32_TOLERANCE)
    assert found["scores"] == pytest.approx([(wanted - 1) / 3], abs=FP32_TOLERANCE)  # dynamic filtering wants 0..1
    assert all(len(values) == 1 and isinstance(values[0], float) for values in found["extra_logs"].values())


def test_wildrewards_own_clients(local_scorer: LocalScorer, model: RewardModel) -> None:
    url = f"{local_scorer()}/get_reward"
    assert wildreward_batch_request(url, QUERIES) == pytest.approx(expected(model), abs=FP32_TOLERANCE)
    talk = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": "an answer"}]
    wanted = model.score([talk])[0].score
    assert wildreward_hf_compute_score(url, "a question", "an answer") == pytest.approx(wanted, abs=FP32_TOLERANCE)


def test_a_refused_request_is_no_http_200(local_scorer: LocalScorer) -> None:
    """WildReward's server answers 200 with an error; its client then takes 2 for every text."""
    with pytest.raises(httpx2.HTTPStatusError):
        wildreward_hf_compute_score(f"{local_scorer()}/get_reward", "a question", "")
