"""The roles of online DPO as Ray actors: started, called, and replaced when they die.

Rollout engines, scorers and the reference keep nothing between calls that a call does not bring along, so Ray may
restart them and repeat the call (`max_task_retries`). The learner is the only one with a memory: when a worker of it
dies the run stops, and the same command continues from the last checkpoint.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError

from rl.checkpoints import fetched, staged
from rl.failures import translated
from rl.learner import Monitored, TrainPair
from rl.learner_group import LearnerGroup
from rl.placement import actor_options, asks
from rl.reference import ReferenceWorker
from rl.rollout import EngineOptions, RolloutWorker, Sampling, Timed
from rl.scorer import Rewards, ScorerWorker
from rl.scoring import RunScorers
from rl.weights import Weights, read, write
from wildreward import storage
from wildreward.dpo import PolicySequence
from wildreward.errors import CheckpointError, DataError
from wildreward.pairs import Completion
from wildreward.policy_lora import check_targets
from wildreward.prompt_store import PolicyPrompt
from wildreward.reservation import reserved
from wildreward.resources import Ask, require
from wildreward.settings.dpo import DpoSettings

AGAIN = {"max_restarts": -1, "max_task_retries": 3}
"""Of actors that Ray starts again, however often in a long run, and repeats their call; one that kills its actor each
time ends the run."""

PATIENCE_S = 600.0
"""After so long without an answer it is said that the run waits."""

BEHIND = "behind"
"""In a checkpoint: the weights before the newest, where the next rollouts are to be written with those."""

REFERENCE = "reference"
"""In a checkpoint: the reference, where it is no longer the starting policy."""


@dataclass(frozen=True)
class WeightsAt:
    """Weights of a version, whose buckets are references; None are the starting policy's."""

    version: int = 0
    weights: Weights | None = None


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
        needed = _checked(settings, scorers)
        self._reservation = ExitStack()
        place = self._reservation.enter_context(reserved("dpo", needed))
        options = EngineOptions(
            settings.policy,
            settings.device,
            settings.dtype,
            settings.threads,
            settings.trust_remote_code,
            settings.max_prompt_tokens + settings.max_new_tokens,
            settings.cores_divided,
            actor_options(settings, "rollout")["num_gpus"] or 1.0,
        )
        engine, reference = (actor_options(settings, role) | AGAIN | place for role in ("rollout", "reference"))
        self.engines = [
            _actor(RolloutWorker, engine, settings.rollout, options) for _ in range(settings.rollout_engines)
        ]
        self.scorers = [_scorer(settings, scorers.reward, settings.handle, place) for _ in range(settings.scorers)]
        self.second = [_scorer(settings, scorers.second, settings.eval_handle, place)] if scorers.second else []
        copies = 0 if settings.lora_rank else 1
        self.references = [
            _actor(ReferenceWorker, reference, options, settings.micro_batch_tokens) for _ in range(copies)
        ]
        self.learner = LearnerGroup(settings, actor_options(settings, "learner") | place)
        self.current = self.reference = WeightsAt()
        started = [actor.start.remote() for actor in self._replaceable()]
        self.learner.start()
        _get(started)

    def _replaceable(self) -> list[Any]:
        return [*self.engines, *self.scorers, *self.second, *self.references]

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

        Each prompt has a seed of its own: how calls are cut and which engine serves one does not change its result.
        """
        size, weights = self.settings.rollout_batch_prompts, weights or self.current
        rollouts, rewards, second = [], [], []
        for number, start in enumerate(range(0, len(prompts), size)):
            part = prompts[start : start + size]
            engine, scorer = self.engines[number % len(self.engines)], self.scorers[number % len(self.scorers)]
            seeds = [derive(*seed, start + place) for place in range(len(part))]
            rollout = engine.generate.remote(
                [item.ids for item in part], sampling, seeds, weights.version, weights.weights
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
        reference = self.reference
        if not self.references:
            found: Timed = self.learner.call("reference_logps", sequences, reference.weights)
            return found
        return _get(self.references[0].logps.remote(sequences, reference.version, reference.weights))

    def learn(self, pairs: Sequence[TrainPair], monitored: Sequence[Monitored]) -> Timed:
        """One step of the learner; from then on `order` writes with the new weights."""
        result: Timed = self.learner.call("step", pairs, monitored)
        if not pairs:
            return result
        started = time.perf_counter()
        self._publish(self.version + 1)
        if self._refreshed_at(self.version) == self.version:
            self.reference = self.current
        return replace(result, value=result.value | {"seconds/weights": time.perf_counter() - started})

    def save(self, directory: str) -> None:
        self.learner.call("save", directory)
        if self.reference.version:
            _keep(directory, REFERENCE, self.reference)

    def load(self, directory: str, version: int) -> None:
        """What `save` kept. Raises CheckpointError."""
        self.learner.call("load", directory)
        if version:
            self._publish(version)
        if since := self._refreshed_at(version):
            self.reference = _kept(directory, REFERENCE, since)

    def _refreshed_at(self, version: int) -> int:
        """The version that is the reference once the policy has this one."""
        steps = self.settings.reference_refresh_steps
        return version - version % steps if steps else 0

    def save_behind(self, directory: str, behind: WeightsAt) -> None:
        """Keep the weights that the next rollouts are written with, where `save` and the start do not have them."""
        if behind.version not in (0, self.version):
            _keep(directory, BEHIND, behind)

    def load_behind(self, directory: str, version: int) -> WeightsAt:
        """What `save_behind` kept. Raises CheckpointError."""
        if version == self.version:
            return self.current
        return _kept(directory, BEHIND, version) if version else WeightsAt()

    def close(self) -> None:
        for actor in self._replaceable():
            ray.kill(actor)
        self.learner.kill()
        self._reservation.close()

    def _publish(self, version: int) -> None:
        """The learner's weights become objects; engines fetch them with the next call that needs them."""
        self.current = WeightsAt(version, self.learner.call("weights"))


def _keep(directory: str, name: str, kept: WeightsAt) -> None:
    """Write weights into a checkpoint, a bucket in memory at a time."""
    assert kept.weights is not None, "the start's weights are the policy's own"
    with staged(storage.join(directory, name)) as path:
        write(kept.weights, path)


def _kept(directory: str, name: str, version: int) -> WeightsAt:
    """Raises CheckpointError naming what is not there or cannot be read."""
    place = storage.join(directory, name)
    try:
        with fetched(place) as path:
            return WeightsAt(version, read(path, ray.put))
    except (DataError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{place}: cannot be read: {error}") from error


def derive(*parts: Any) -> int:
    """A seed that is a pure function of its parts.

    >>> derive(0, "step", 3, 1) == derive(0, "step", 3, 1) != derive(0, "step", 3, 2)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7])


def _actor(cls: type, options: dict[str, Any], *args: Any) -> Any:
    return ray.remote(**options)(cls).remote(*args)


def _scorer(settings: DpoSettings, factory: Any, handle: str | None, place: dict[str, Any]) -> Any:
    """A client of a running application takes nothing, and so has no place in the reservation."""
    options = actor_options(settings, "scorer", is_client=handle is not None) | AGAIN
    return _actor(
        ScorerWorker, options if handle else options | place, factory, settings.threads, settings.cores_divided
    )


def _checked(settings: DpoSettings, scorers: RunScorers) -> list[Ask]:
    """What the run needs. Raises UsageError for adapters' targets that the policy lacks, WildrewardError where an actor
    would wait for ever for what the cluster cannot give."""
    if settings.lora_rank:
        check_targets(settings)
    needed = asks(settings, second_scorer=scorers.second is not None)
    require("dpo", needed)
    return needed


def _get(refs: Any) -> Any:
    """`ray.get`, with the first remote failure raised as what it was, and a long wait said."""
    waiting = list(refs) if isinstance(refs, list) else [refs]
    found: dict[Any, Any] = {}
    try:
        while waiting:
            done, waiting = ray.wait(waiting, timeout=PATIENCE_S)
            found |= {ref: ray.get(ref) for ref in done}
            if not done:
                print(
                    f"dpo: {len(waiting)} calls have no answer for {PATIENCE_S:g} s; after the loss of a node actors "
                    "wait for room: see ray status",
                    flush=True,
                )
    except RayError as error:
        raise translated(error) from error
    return [found[ref] for ref in refs] if isinstance(refs, list) else found[refs]
