"""Scorers: the reward model reads what the policy wrote. A score that cannot be had is None and a counted reason."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from rl.rollout import Timed
from wildreward.errors import WildrewardError
from wildreward.fast_reward_model import FastRewardModel
from wildreward.pairs import Completion
from wildreward.reward_model import Score

Messages = Sequence[dict[str, str]]


class Scorer(Protocol):
    """Anything that scores conversations, in order: a `RewardModel`, or a rule in a test."""

    def score(self, conversations: Sequence[Sequence[Any]], batch_tokens: int = 8192) -> list[Score]: ...


ScorerFactory = Callable[[], Scorer]


@dataclass(frozen=True)
class Rewards:
    """`rewards_PG`: one per completion, None where there is no score; `failures`: how many, by what was said."""

    rewards_PG: list[list[float | None]]
    failures: Counter[str] = field(default_factory=Counter)


class ScorerWorker:
    """The Ray actor around a scorer."""

    def __init__(self, factory: ScorerFactory, batch_tokens: int, threads: int) -> None:
        self._factory, self._threads, self.batch_tokens = factory, threads, batch_tokens

    @cached_property
    def scorer(self) -> Scorer:
        import torch

        torch.set_num_threads(self._threads or os.cpu_count() or 1)
        return self._factory()

    def start(self) -> None:
        _ = self.scorer

    def score(self, prompts: Sequence[Messages], rollouts: Timed) -> Timed:
        """`Rewards` of every completion of every prompt. Empty completions are not scored: no reward, no failure."""
        started = time.perf_counter()
        completions_PG: list[list[Completion]] = rollouts.value
        where = [(p, g) for p, row in enumerate(completions_PG) for g, item in enumerate(row) if item.text]
        conversations = [[*prompts[p], {"role": "assistant", "content": completions_PG[p][g].text}] for p, g in where]
        failures: Counter[str] = Counter()
        scores = self._scores(conversations, failures)
        rewards_PG: list[list[float | None]] = [[None] * len(row) for row in completions_PG]
        for (p, g), score in zip(where, scores, strict=True):
            rewards_PG[p][g] = None if score is None else score.score
        tokens = sum(score.tokens or 0 for score in scores if score is not None)
        return Timed(Rewards(rewards_PG, failures), time.perf_counter() - started, tokens)

    def _scores(self, conversations: list[Any], failures: Counter[str]) -> list[Score | None]:
        """All at once; when that fails, one by one, so that one bad item does not take the others along."""
        if not conversations:
            return []
        try:
            return list(self.scorer.score(conversations, self.batch_tokens))
        except (WildrewardError, ValueError, RuntimeError) as error:
            if len(conversations) == 1:
                failures[f"{type(error).__name__}: {error}"[:200]] += 1
                return [None]
        return [score for item in conversations for score in self._scores([item], failures)]


def reward_model_factory(
    checkpoint: str, device: str, dtype: str, template: str | None, trust_remote_code: bool
) -> ScorerFactory:
    return lambda: FastRewardModel.load(checkpoint, device, dtype, template, trust_remote_code)
