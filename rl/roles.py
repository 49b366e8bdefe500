"""The roles of online DPO as Ray actors: started, called, and replaced when they die.

Rollout engines, scorers and the reference keep nothing between calls that a call does not bring along, so Ray may
restart them and repeat the call (`max_task_retries`). The learner is the only one with a memory: when it dies the run
stops, and the same command continues from the last checkpoint.
"""

import hashlib
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from rl.learner import Learner, Monitored, TrainPair
from rl.reference import ReferenceWorker
from rl.rollout import EngineOptions, RolloutWorker, Sampling, Timed
from rl.scorer import Rewards, ScorerWorker
from rl.scoring import RunScorers
from wildreward import storage
from wildreward.dpo import PolicySequence
from wildreward.errors import CheckpointError, DataError, WildrewardError
from wildreward.pairs import Completion
from wildreward.prompt_store import PolicyPrompt
from wildreward.resources import Ask, require
from wildreward.settings.dpo import DpoSettings

RESTARTS = 3
BEHIND = "behind.pkl"
"""In a checkpoint: the weights before the newest, where the next rollouts are to be written with those."""


@dataclass(frozen=True)
class WeightsAt:
    """Weights of a version, by reference; None are the starting policy's."""

    version: int = 0
    ref: Any = None


@dataclass(frozen=True)
class Pending:
    """Rollouts that were ordered: references to each call's completions, rewards, and the second scorer's scores."""

    prompts: Sequence[PolicyPrompt]
    version: int
    rollouts: Sequence[Any]
    rewards: Sequence[Any]
    second: Sequence[Any] = ()


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
    read_cut: Mapping[str, int] = field(default_factory=dict)
    """Completions of which the reward model did not read the end of the reply, or the oldest of the history."""
    second_PG: list[list[float | None]] | None = None
    second_failures: Counter[str] = field(default_factory=Counter)


class Roles:
    """All actors of a run, behind calls that name what is done and not where."""

    def __init__(self, settings: DpoSettings, scorers: RunScorers) -> None:
        self.settings = settings
        _check_room(settings, scorers)
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
        self.engines = [
            _actor(RolloutWorker, again, settings.rollout, options) for _ in range(settings.rollout_engines)
        ]
        self.scorers = [_scorer(settings, scorers.reward, settings.handle) for _ in range(settings.scorers)]
        self.second = [_scorer(settings, scorers.second, settings.eval_handle)] if scorers.second else []
        self.reference = _actor(ReferenceWorker, again, options, settings.micro_batch_tokens)
        self.learner = _actor(Learner, place, settings)
        self.current = WeightsAt()
        _get([actor.start.remote() for actor in self._actors()])

    def _actors(self) -> list[Any]:
        return [*self.engines, *self.scorers, *self.second, self.reference, self.learner]

    @property
    def version(self) -> int:
        return self.current.version

    def order(
        self,
        prompts: Sequence[PolicyPrompt],
        sampling: Sampling,
        *seed: Any,
        weights: WeightsAt | None = None,
        evaluation: bool = False,
    ) -> Pending:
        """Start rollouts and, behind each, its scoring, with these weights or those of now. Returns at once.

        Those of an `evaluation` are scored by the second scorer too.

        Calls are cut by prompt position and each has its own seed: which engine serves one does not change its result.
        """
        size, weights = self.settings.rollout_batch_prompts, weights or self.current
        rollouts, rewards, second = [], [], []
        for number, start in enumerate(range(0, len(prompts), size)):
            part = prompts[start : start + size]
            engine, scorer = self.engines[number % len(self.engines)], self.scorers[number % len(self.scorers)]
            rollout = engine.generate.remote(
                [item.ids for item in part], sampling, derive(*seed, number), weights.version, weights.ref
            )
            rollouts.append(rollout)
            messages = [item.prompt.messages for item in part]
            rewards.append(scorer.score.remote(messages, rollout))
            second += [actor.score.remote(messages, rollout) for actor in self.second if evaluation]
        return Pending(prompts, weights.version, rollouts, rewards, second)

    def collect(self, pending: Pending) -> Scored:
        """Wait for what was ordered. Raises WildrewardError when an actor died for good."""
        rollouts: list[Timed] = _get(list(pending.rollouts))
        scored: list[Timed] = _get(list(pending.rewards))
        rewards: list[Rewards] = [item.value for item in scored]
        second: list[Rewards] = [item.value for item in _get(list(pending.second))]
        by_role = {"rollout": rollouts, "scorer": scored}
        return Scored(
            pending.prompts,
            pending.version,
            [row for item in rollouts for row in item.value],
            [row for item in rewards for row in item.rewards_PG],
            sum((item.failures for item in rewards), Counter()),
            {role: sum(item.seconds for item in items) for role, items in by_role.items()},
            {role: sum(item.tokens for item in items) for role, items in by_role.items()},
            {name: sum(getattr(item, name) for item in rewards) for name in ("replies_cut", "prompts_cut")},
            [row for item in second for row in item.rewards_PG] if second else None,
            sum((item.failures for item in second), Counter()),
        )

    def unknown_frac(self, texts: Sequence[str]) -> float | None:
        """Share of these texts' tokens that the reward model's tokenizer does not know, where that can be asked."""
        return _get(self.scorers[0].unknown_frac.remote(texts))

    def describe_scorers(self) -> dict[str, dict[str, Any]]:
        named = dict(zip(("reward", "second"), [self.scorers[0], *self.second], strict=False))
        return dict(zip(named, _get([actor.describe.remote() for actor in named.values()]), strict=True))

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

    def save_behind(self, directory: str, behind: WeightsAt) -> None:
        """Keep the weights that the next rollouts are written with, where `save` and the start do not have them."""
        if behind.version in (0, self.version):
            return
        with storage.writing(storage.join(directory, BEHIND)) as handle:
            pickle.dump(_get(behind.ref), handle, protocol=5)

    def load_behind(self, directory: str, version: int) -> WeightsAt:
        """What `save_behind` kept. Raises CheckpointError."""
        if version == self.version:
            return self.current
        if version == 0:
            return WeightsAt()
        try:
            with storage.open_file(storage.join(directory, BEHIND)) as handle:
                return WeightsAt(version, ray.put(pickle.load(handle)))
        except (DataError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{directory}/{BEHIND}: cannot be read: {error}") from error

    def close(self) -> None:
        for actor in self._actors():
            ray.kill(actor)

    def _publish(self, version: int) -> None:
        """The learner's weights become an object; engines fetch it with the next call that needs it."""
        self.current = WeightsAt(version, self.learner.weights.remote())


def derive(*parts: Any) -> int:
    """A seed that is a pure function of its parts.

    >>> derive(0, "step", 3, 1) == derive(0, "step", 3, 1) != derive(0, "step", 3, 2)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7])


def _actor(cls: type, options: dict[str, Any], *args: Any) -> Any:
    return ray.remote(**options)(cls).remote(*args)


def _scorer(settings: DpoSettings, factory: Any, handle: str | None) -> Any:
    again = _scorer_place(settings, handle) | {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
    return _actor(ScorerWorker, again, factory, settings.threads)


def _placement(settings: DpoSettings) -> dict[str, Any]:
    gpus = settings.gpus_per_actor if settings.device == "cuda" else 0
    return {"num_cpus": settings.cpus_per_actor, "num_gpus": gpus}


def _scorer_place(settings: DpoSettings, handle: str | None) -> dict[str, Any]:
    """The client of a running application takes nothing: the application has its own place."""
    return {"num_cpus": 0, "num_gpus": 0} if handle else _placement(settings)


def _check_room(settings: DpoSettings, scorers: RunScorers) -> None:
    """An actor that fits nowhere would wait for ever, silently. Raises WildrewardError naming the shortfall."""
    own, reward, second = (
        _placement(settings),
        _scorer_place(settings, settings.handle),
        _scorer_place(settings, settings.eval_handle),
    )
    asks = {
        "rollout engine": (settings.rollout_engines, own),
        "scorer": (settings.scorers, reward),
        "second scorer": (int(scorers.second is not None), second),
        "reference": (1, own),
        "learner": (1, own),
    }
    each = [
        Ask(what, count, {"CPU": place["num_cpus"], "GPU": place["num_gpus"]})
        for what, (count, place) in asks.items()
        if count
    ]
    require("dpo", each)


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
