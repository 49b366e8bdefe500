"""OpenRLHF's custom reward function: conversations, not the policy's rendered text, are scored.

    export WILDREWARD_URL=http://127.0.0.1:8000 END_OF_REPLY='<|im_end|>'
    python -m openrlhf.cli.train_ppo_ray --remote_rm_url serve/examples/openrlhf_reward.py --label_key messages ...

Without this file `--remote_rm_url http://127.0.0.1:8000/get_reward` works as it is, where policy and reward model share
a chat template: the scorer then reads the rendered text. Here the label column holds the prompt's messages (a list, or
its JSON), and the reply is what follows the rendered prompt, up to END_OF_REPLY.
"""

import json
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from serve.adapters import conversation, http_client
from serve.client import HttpClient


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any) -> dict[str, Any]:
    """`rewards` (1..C) for the advantage, `scores` (0..1) for dynamic filtering, `extra_logs` per query."""
    import torch

    talks = [
        conversation(_messages(label), _reply(query, prompt))
        for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]
    replies = _client().score(talks)
    rewards = torch.tensor([reply.score for reply in replies])
    logs = {
        "uncertainty": torch.tensor([reply.uncertainty for reply in replies]),
        "prompt_tokens_cut": torch.tensor([float(reply.prompt_tokens_cut) for reply in replies]),
    }
    return {"rewards": rewards, "scores": (rewards - 1) / (len(replies[0].probs) - 1), "extra_logs": logs}


@cache
def _client() -> HttpClient:
    """One for all of OpenRLHF's threads."""
    return http_client(os.environ["WILDREWARD_URL"])


def _messages(label: Any) -> list[dict[str, str]]:
    messages = json.loads(label) if isinstance(label, str) else label
    if not isinstance(messages, list):
        raise ValueError(f"label: found {type(messages).__name__}; the prompt's messages are needed (--label_key)")
    return messages


def _reply(query: str, prompt: str) -> str:
    if not query.startswith(prompt):
        raise ValueError("query: it does not begin with its prompt")
    end = os.environ.get("END_OF_REPLY")
    reply = query.removeprefix(prompt)
    return reply.split(end)[0] if end else reply
