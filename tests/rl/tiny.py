"""A policy made in a second, prompts to go with it, and rewards by rule."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wildreward.errors import DataError
from wildreward.policies import new_policy, warm_start
from wildreward.reward_model import Score
from wildreward.settings.dpo import DpoSettings

THINGS = ("tea", "rice", "glass", "paper", "bread", "wool", "soap", "ink", "salt", "silk", "brick", "cheese")
REPLIES = ("It is made with care, step by step.", "No idea.", "People have many opinions about {}.", "{} takes time.")


def conversations() -> list[list[dict[str, str]]]:
    return [
        [
            {"role": "user", "content": f"How is {thing} made?"},
            {"role": "assistant", "content": REPLIES[number].format(thing)},
        ]
        for thing in THINGS
        for number in range(len(REPLIES))
    ]


def tiny_policy(directory: Path, steps: int = 40, seed: int = 0) -> Path:
    """A Llama of two layers, 32 wide, that has seen `conversations` for a moment."""
    new_policy(directory, conversations(), seed, vocabulary=400, hidden=32, layers=2, heads=2, max_tokens=128)
    warm_start(directory, conversations(), steps, seed, lr=2e-2)
    return directory


def prompts_file(directory: Path) -> Path:
    path = directory / "prompts.jsonl"
    path.write_text("".join(json.dumps({"messages": item}) + "\n" for item in conversations()), encoding="utf-8")
    return path


def settings(directory: Path, **changed: Any) -> DpoSettings:
    """A run of seconds: policy, prompts and output under `directory`."""
    policy = directory / "start"
    if "policy" not in changed and not policy.exists():
        tiny_policy(policy)
    values = {
        "policy": str(policy),
        "checkpoint": "rule",
        "input": (str(prompts_file(directory)),),
        "output": str(directory / "run"),
        "steps": 3,
        "prompts_per_step": 4,
        "completions_per_prompt": 4,
        "max_new_tokens": 8,
        "max_prompt_tokens": 64,
        "rollout_batch_prompts": 2,
        "eval_prompts": 4,
        "checkpoint_every_steps": 2,
        "lr": 1e-3,
        "staleness": 0,
        "threads": 1,
        "cpus_per_actor": 0.25,  # eight roles beside the scorer that tests of serve leave on the session's cluster
    }
    return DpoSettings.model_validate(values | changed)


class ShareOfE:
    """Reward by rule: 1 plus three times the share of the letter e."""

    def score(self, conversations: Sequence[Sequence[Any]], batch_tokens: int = 8192) -> list[Score]:
        return [_score(1 + 3 * text.count("e") / len(text)) for text in _replies(conversations)]


class FewWords:
    """Another opinion: the fewer words the better."""

    def score(self, conversations: Sequence[Sequence[Any]], batch_tokens: int = 8192) -> list[Score]:
        return [_score(4 - len(text.split()) / 10) for text in _replies(conversations)]


class FailsOn:
    """Fails on every reply in which `word` occurs."""

    def __init__(self, word: str) -> None:
        self.word = word

    def score(self, conversations: Sequence[Sequence[Any]], batch_tokens: int = 8192) -> list[Score]:
        replies = _replies(conversations)
        if any(self.word in text for text in replies):
            raise DataError("this one cannot be scored")
        return [_score(1 + len(text) % 3) for text in replies]


def _replies(conversations: Sequence[Sequence[Any]]) -> list[str]:
    return [messages[-1]["content"] for messages in conversations]


def _score(value: float) -> Score:
    return Score(value, (0.25, 0.25, 0.25, 0.25), 1.0, None, 10, 0, 0)
