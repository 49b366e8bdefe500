"""verl's custom reward function: one awaited call a completion, which the scorer batches.

    export WILDREWARD_URL=http://127.0.0.1:8000
    python -m verl.trainer.main_ppo reward.custom_reward_function.path=serve/examples/verl_reward.py \\
        reward.custom_reward_function.name=compute_score ...

verl passes the decoded reply and the row's `extra_info`; the prompt's messages must be in `extra_info["messages"]`.
"""

import os
from functools import cache
from typing import Any

from serve.adapters import LoopClient, async_http_client, conversation


async def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: dict[str, Any], **_: Any
) -> dict[str, float]:
    """`score` is the reward; verl logs the rest."""
    talk = conversation(list(extra_info["messages"]), solution_str)
    reply = (await _clients().of_loop().score([talk]))[0]
    return {"score": reply.score, "uncertainty": reply.uncertainty}


@cache
def _clients() -> LoopClient:
    return LoopClient(lambda: async_http_client(os.environ["WILDREWARD_URL"]))
