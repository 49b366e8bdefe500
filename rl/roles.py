"""The roles of online DPO as Ray actors: started, called, and replaced when they die.

Rollout engines, scorers and the reference keep nothing between calls that a call does not bring along, so Ray may
restart them and repeat the call (`max_task_retries`). The learner is the only one with a memory: when it dies the run
stops, and the same command continues from the last checkpoint.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from rl.learner import Learner, Monitored, TrainPair
from rl.reference import ReferenceWorker
from rl.rollout import EngineOptions, RolloutWorker, Sampling, Timed
from rl.scorer import Rewards, ScorerFactory, ScorerWorker
from wildreward.dpo import PolicySequence
from wildreward.errors import WildrewardError
from wildreward.pairs import Completion
from wildreward.prompts import Prompt
from wildreward.resources import Ask, require
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
        _check_room(settings)
        options = EngineOptions(
            settings.policy,
            settings.device,
            settings.dtype,
            settings.threads,
            settings.trust_remote_code,
            settings.max_prompt_tokens + settings.max_new_tokens,
        )
        place = _placement(settings)
        again = place | {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        scoring = (factory, settings.score_batch_tokens, settings.threads)
        self.engines = [
            _actor(RolloutWorker, again, settings.rollout, options) for _ in range(settings.rollout_engines)
        ]
        self.scorers = [_actor(ScorerWorker, again, *scoring) for _ in range(settings.scorers)]
        self.reference = _actor(ReferenceWorker, again, options, settings.micro_batch_tokens)
        self.learner = _actor(Learner, place, settings)
        self.version, self._weights = 0, None
        _get([actor.start.remote() for actor in (*self.engines, *self.scorers, self.reference, self.learner)])

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
        return _get(self.reference.logps.remote(sequences))

    def learn(self, pairs: Sequence[TrainPair], monitored: Sequence[Monitored]) -> Timed:
        """One step of the learner; from then on `order` writes with the new weights."""
        result = _get(self.learner.step.remote(pairs, monitored))
        if pairs:
            self._publish(self.version + 1)
        return result

    def save(self, directory: str) -> None:
        _get(self.learner.save.remote(directory))

    def load(self, directory: str, version: int) -> None:
        _get(self.learner.load.remote(directory))
        if version:
            self._publish(version)

    def close(self) -> None:
        for actor in (*self.engines, *self.scorers, self.reference, self.learner):
            ray.kill(actor)

    def _publish(self, version: int) -> None:
        """The learner's weights become an object; engines fetch it with the next call that needs it."""
        self._weights, self.version = self.learner.weights.remote(), version


def derive(*parts: Any) -> int:
    """A seed that is a pure function of its parts.

    >>> derive(0, "step", 3, 1) == derive(0, "step", 3, 1) != derive(0, "step", 3, 2)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7])


def _actor(cls: type, options: dict[str, Any], *args: Any) -> Any:
    return ray.remote(**options)(cls).remote(*args)


def _placement(settings: DpoSettings) -> dict[str, Any]:
    gpus = settings.gpus_per_actor if settings.device == "cuda" else 0
    return {"num_cpus": settings.cpus_per_actor, "num_gpus": gpus}


def _check_room(settings: DpoSettings) -> None:
    """An actor that fits nowhere would wait for ever, silently. Raises WildrewardError naming the shortfall."""
    place = _placement(settings)
    each = {"CPU": place["num_cpus"], "GPU": place["num_gpus"]}
    counts = {"rollout engine": settings.rollout_engines, "scorer": settings.scorers, "reference": 1, "learner": 1}
    require("dpo", [Ask(what, count, each) for what, count in counts.items()])


def _get(refs: Any) -> Any:
    """`ray.get`, with a remote failure raised as what it was."""
    try:
        return ray.get(refs)
    except RayTaskError as error:
        if isinstance(error.cause, WildrewardError):
            raise error.cause from None
        raise WildrewardError(f"an actor failed: {error}") from error
    except RayActorError as error:
        raise WildrewardError(f"an actor died; the same command continues from the last checkpoint: {error}") from error
