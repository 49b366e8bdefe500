"""Scorers: the reward model reads what the policy wrote. A score that cannot be had is None and a counted reason.

What scores is a checkpoint loaded in the run's own actors, the handle of a running `serve` application, or a Python
callable, all behind one method (wildreward/scorer.py); the actor around it is the same.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rl.models import threads_here
from rl.rollout import Timed
from wildreward.errors import WildrewardError
from wildreward.pairs import Completion
from wildreward.reward_model import Score, TextScorer
from wildreward.scorer import CheckpointScorer, LoadedCheckpoint, Scorer, ScorerUnavailableError, Unscored, score_each

Messages = Sequence[dict[str, str]]
ScorerFactory = Callable[[], Scorer]
MAX_REASON = 200
"""Characters of a reason that are counted by; the rest of a message tends to differ from text to text."""


@dataclass(frozen=True)
class Rewards:
    """`rewards_PG`: one per completion, None where there is no score; `failures`: how many, by what was said.

    `replies_cut` and `prompts_cut`: how many were scored without the end of the reply, or the oldest of the history.
    """

    rewards_PG: list[list[float | None]]
    failures: Counter[str] = field(default_factory=Counter)
    replies_cut: int = 0
    prompts_cut: int = 0


class ScorerWorker:
    """The Ray actor around a scorer."""

    def __init__(self, factory: ScorerFactory, threads: int, cores_divided: int = 1) -> None:
        self._factory, self._threads = factory, threads_here(threads, cores_divided)

    @cached_property
    def scorer(self) -> Scorer:
        import torch

        torch.set_num_threads(self._threads)
        return self._factory()

    def start(self) -> None:
        """Raises WildrewardError when the scorer cannot be loaded, or does not answer."""
        self.describe()

    def describe(self) -> dict[str, Any]:
        """What scores, as plain values; empty where it does not say."""
        describe: Callable[[], dict[str, Any]] = getattr(self.scorer, "describe", dict)
        return describe()

    def unknown_frac(self, texts: Sequence[str]) -> float | None:
        """Share of the tokens of `texts` for which the reward model's vocabulary has no entry; None where its
        tokenizer is not here to be asked."""
        model = self.scorer.model if isinstance(self.scorer, LoadedCheckpoint) else None
        if not isinstance(model, TextScorer):
            return None
        unknown = model.tokenizer.unk_token_id
        ids = model.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        total = sum(map(len, ids))
        return sum(row.count(unknown) for row in ids) / total if total and unknown is not None else 0.0

    def score(self, prompts: Sequence[Messages], rollouts: Timed) -> Timed:
        """`Rewards` of every completion of every prompt. Empty completions are not scored: no reward, no failure."""
        started = time.perf_counter()
        completions_PG: list[list[Completion]] = rollouts.value
        where = [(p, g) for p, row in enumerate(completions_PG) for g, item in enumerate(row) if item.text]
        conversations = [[*prompts[p], {"role": "assistant", "content": completions_PG[p][g].text}] for p, g in where]
        results = self._results(conversations)
        scores = [result for result in results if isinstance(result, Score)]
        rewards_PG: list[list[float | None]] = [[None] * len(row) for row in completions_PG]
        for (p, g), result in zip(where, results, strict=True):
            rewards_PG[p][g] = result.score if isinstance(result, Score) else None
        value = Rewards(
            rewards_PG,
            Counter(_reason(result) for result in results if isinstance(result, Unscored)),
            sum(bool(score.response_tokens_cut) for score in scores),
            sum(bool(score.prompt_tokens_cut) for score in scores),
        )
        return Timed(value, time.perf_counter() - started, sum(score.tokens or 0 for score in scores))

    def _results(self, conversations: list[Any]) -> list[Score | Unscored]:
        """All at once; when that fails, one by one, so that one bad item does not take the others along."""
        if not conversations:
            return []
        try:
            return score_each(self.scorer, conversations)
        except ScorerUnavailableError as error:
            return [Unscored("unavailable", str(error))] * len(conversations)
        except (WildrewardError, ValueError, RuntimeError) as error:
            if len(conversations) == 1:
                return [Unscored(type(error).__name__, str(error))]
        return [score for item in conversations for score in self._results([item])]


def _reason(result: Unscored) -> str:
    return (f"{result.reason}: {result.detail}" if result.detail else result.reason)[:MAX_REASON]


def reward_model_factory(
    checkpoint: str, device: str, dtype: str, template: str | None, trust_remote_code: bool
) -> ScorerFactory:
    return CheckpointScorer(checkpoint, template, device, dtype, trust_remote_code=trust_remote_code).load
