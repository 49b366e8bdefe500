"""The roles of online DPO as Ray actors: started, called, and replaced when they die.

Rollout engines, scorers and the reference keep nothing between calls that a call does not bring along, so Ray may
restart them and repeat the call (`max_task_retries`). The learner is the only one with a memory: when a worker of it
dies the run stops, and the same command continues from the last checkpoint.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from rl.failures import translated
from rl.learner import Monitored, TrainPair
from rl.learner_group import LearnerGroup
from rl.placement import Role, actor_options, asks
from rl.reference import ReferenceWorker
from rl.rollout import EngineOptions, RolloutWorker, Sampling, Timed
from rl.scorer import Rewards, ScorerFactory, ScorerWorker
from rl.weights import Weights
from wildreward.dpo import PolicySequence
from wildreward.pairs import Completion
from wildreward.policy_lora import check_targets
from wildreward.prompts import Prompt
from wildreward.resources import require
from wildreward.settings.dpo import DpoSettings

RESTARTS = 3


@dataclass(frozen=True)
class PolicyPrompt:
    """A prompt, and its token ids in the policy's chat template."""

    prompt: Prompt
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Pending:
    """Rollouts that were ordered: references to each call's completions and rewards."""

    prompts: Sequence[PolicyPrompt]
    version: int
    rollouts: Sequence[Any]
    rewards: Sequence[Any]


@dataclass(frozen=True)
class Scored:
    """Completions and rewards of `prompts`, and what it took: seconds and tokens by role (summed over actors)."""

    prompts: Sequence[PolicyPrompt]
    version: int
    completions_PG: list[list[Completion]]
    rewards_PG: list[list[float | None]]
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)


class Roles:
    """All actors of a run, behind calls that name what is done and not where."""

    def __init__(self, settings: DpoSettings, factory: ScorerFactory) -> None:
        self.settings = settings
        check(settings)
        options = EngineOptions(
            settings.policy,
            settings.device,
            settings.dtype,
            settings.threads,
            settings.trust_remote_code,
            settings.max_prompt_tokens + settings.max_new_tokens,
        )
        scoring = (factory, settings.score_batch_tokens, settings.threads)
        self.engines = [
            _actor(RolloutWorker, _again(settings, "rollout"), settings.rollout, options)
            for _ in range(settings.rollout_engines)
        ]
        self.scorers = [_actor(ScorerWorker, _again(settings, "scorer"), *scoring) for _ in range(settings.scorers)]
        self.references = (
            []
            if settings.lora_rank
            else [_actor(ReferenceWorker, _again(settings, "reference"), options, settings.micro_batch_tokens)]
        )
        self.learner = LearnerGroup(settings, actor_options(settings, "learner"))
        self.version = self.reference_version = 0
        self._weights: Weights | None = None
        self._reference_weights: Weights | None = None
        started = [actor.start.remote() for actor in (*self.engines, *self.scorers, *self.references)]
        self.learner.start()
        _get(started)

    def order(self, prompts: Sequence[PolicyPrompt], sampling: Sampling, *seed: Any) -> Pending:
        """Start rollouts and, behind each, its scoring, with the weights of now. Returns at once.

        Each prompt has a seed of its own: how calls are cut and which engine serves one does not change its result.
        """
        size = self.settings.rollout_batch_prompts
        rollouts, rewards = [], []
        for number, start in enumerate(range(0, len(prompts), size)):
            part = prompts[start : start + size]
            engine, scorer = self.engines[number % len(self.engines)], self.scorers[number % len(self.scorers)]
            seeds = [derive(*seed, start + place) for place in range(len(part))]
            rollout = engine.generate.remote([item.ids for item in part], sampling, seeds, self.version, self._weights)
            rollouts.append(rollout)
            rewards.append(scorer.score.remote([item.prompt.messages for item in part], rollout))
        return Pending(prompts, self.version, rollouts, rewards)

    def collect(self, pending: Pending) -> Scored:
        """Wait for what was ordered. Raises WildrewardError when an actor died for good."""
        rollouts: list[Timed] = _get(list(pending.rollouts))
        scored: list[Timed] = _get(list(pending.rewards))
        rewards: list[Rewards] = [item.value for item in scored]
        by_role = {"rollout": rollouts, "scorer": scored}
        return Scored(
            pending.prompts,
            pending.version,
            [row for item in rollouts for row in item.value],
            [row for item in rewards for row in item.rewards_PG],
            sum((item.failures for item in rewards), Counter()),
            {role: sum(item.seconds for item in items) for role, items in by_role.items()},
            {role: sum(item.tokens for item in items) for role, items in by_role.items()},
        )

    def reference_logps(self, sequences: Sequence[PolicySequence]) -> Timed:
        if not self.references:
            found: Timed = self.learner.call("reference_logps", sequences, self._reference_weights)
            return found
        return _get(self.references[0].logps.remote(sequences, self.reference_version, self._reference_weights))

    def learn(self, pairs: Sequence[TrainPair], monitored: Sequence[Monitored]) -> Timed:
        """One step of the learner; from then on `order` writes with the new weights."""
        result: Timed = self.learner.call("step", pairs, monitored)
        if not pairs:
            return result
        started = time.perf_counter()
        self._publish(self.version + 1)
        refresh = self.settings.reference_refresh_steps
        if refresh and self.version % refresh == 0:
            self.reference_version, self._reference_weights = self.version, self._weights
        return replace(result, value=result.value | {"seconds/weights": time.perf_counter() - started})

    def save(self, directory: str) -> None:
        self.learner.call("save", directory, self._reference_weights)

    def load(self, directory: str, version: int) -> None:
        self._reference_weights = self.learner.call("load", directory)
        if self._reference_weights is not None:
            refresh = self.settings.reference_refresh_steps
            self.reference_version = version - version % refresh
        if version:
            self._publish(version)

    def close(self) -> None:
        for actor in (*self.engines, *self.scorers, *self.references):
            ray.kill(actor)
        self.learner.kill()

    def _publish(self, version: int) -> None:
        """The learner's weights become objects; engines fetch them with the next call that needs them."""
        self._weights, self.version = self.learner.call("weights"), version


def derive(*parts: Any) -> int:
    """A seed that is a pure function of its parts.

    >>> derive(0, "step", 3, 1) == derive(0, "step", 3, 1) != derive(0, "step", 3, 2)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7])


def _actor(cls: type, options: dict[str, Any], *args: Any) -> Any:
    return ray.remote(**options)(cls).remote(*args)


def _again(settings: DpoSettings, role: Role) -> dict[str, Any]:
    """Options of actors that Ray may start again, and repeat their call."""
    return actor_options(settings, role) | {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}


def check(settings: DpoSettings) -> None:
    """Raises UsageError for targets that the policy lacks, WildrewardError where an actor would wait for ever."""
    if settings.lora_rank:
        check_targets(settings)
    require("dpo", asks(settings))


def _get(refs: Any) -> Any:
    """`ray.get`, with a remote failure raised as what it was."""
    try:
        return ray.get(refs)
    except (RayTaskError, RayActorError) as error:
        raise translated(error) from error
