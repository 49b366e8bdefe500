"""The online DPO loop: rollouts -> rewards -> pairs -> reference -> learner -> new weights, step after step.

order(step 1) -> collect -> learn -> order(step 2) ...      staleness 0: every completion is of the newest weights
order(step 1) -> collect -> order(step 2) -> learn ...      staleness 1: the next rollouts while the learner works

With staleness 1 a checkpoint also keeps the weights that the next rollouts were ordered with: a run that continues
orders them again, and ends with the weights of an undisturbed one.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rl.checkpoints import Checkpoints, State
from rl.evaluation import NAMES, evaluation_metrics, in_words, is_best, take_in
from rl.learner import Monitored, TrainPair
from rl.recorder import Recorder
from rl.roles import Pending, Roles, Scored, WeightsAt
from rl.rollout import Sampling
from rl.samples import sample_rows
from rl.step_metrics import completions_of, lengths_of, reward_metrics, rewards_of, role_metrics
from wildreward.dpo import PolicySequence
from wildreward.errors import WildrewardError
from wildreward.pairs import SKIP_REASONS, Pair, PairRule, choose_pair
from wildreward.prompt_store import PolicyPrompt
from wildreward.prompts import positions_of_step
from wildreward.settings.dpo import DpoSettings


class ScoringError(WildrewardError):
    """Too many completions of a step could not be scored."""


@dataclass
class OnlineDpo:
    """One run: what it works with, and `state`, where it is. `behind`: what the next rollouts are written with."""

    settings: DpoSettings
    roles: Roles
    prompts: Sequence[PolicyPrompt]
    held_out: Sequence[PolicyPrompt]
    state: State
    recorder: Recorder
    checkpoints: Checkpoints
    behind: WeightsAt = field(default_factory=WeightsAt)

    def run(self) -> None:
        """From the state's step to the last. Raises WildrewardError; what was checkpointed stays."""
        settings, state = self.settings, self.state
        if 0 not in state.evaluations:
            self._evaluate()
        ahead = self._order(state.step) if state.step < settings.steps else None
        while ahead is not None:
            ahead = self._step(ahead)

    def _step(self, pending: Pending) -> Pending | None:
        """One step; what was ordered for the next one."""
        settings, state = self.settings, self.state
        started = time.perf_counter()
        scored = self.roles.collect(pending)
        refuse_failing_scorer(scored, settings.max_failed_scores_frac)
        more = state.step + 1 < settings.steps
        self.behind = self.roles.current
        ahead = self._order(state.step + 1) if more and settings.staleness else None
        staleness = self.roles.version - scored.version
        chosen, skipped = pairs_of(scored, pair_rule(settings))
        metrics = self._learn(scored, chosen, skipped) | {"staleness": staleness, "version": self.roles.version}
        if not settings.staleness:
            self.behind = self.roles.current
        state.step, state.version, state.behind = state.step + 1, self.roles.version, self.behind.version
        metrics["seconds/step"] = time.perf_counter() - started
        state.seconds += metrics["seconds/step"]
        self.recorder.step(state.step, metrics, {"rewards": rewards_of(scored), "lengths": lengths_of(scored)})
        if (state.step - 1) % settings.sample_every_steps == 0:
            self._write_samples("step", scored, chosen)
        self._keep()
        return self._order(state.step) if more and ahead is None else ahead

    def _keep(self) -> None:
        """Evaluate and write a checkpoint, where the settings or the last step ask for it."""
        settings, state = self.settings, self.state
        last = state.step == settings.steps
        best = False
        if last or (settings.eval_every_steps and state.step % settings.eval_every_steps == 0):
            self._evaluate()
            best = is_best(state, settings.select_by)
        if best:
            state.best = state.step
        if last or best or state.step % settings.checkpoint_every_steps == 0:
            self.recorder.flush(now=True)
            self.checkpoints.write(state, self._save)

    def _save(self, directory: str) -> None:
        self.roles.save(directory)
        self.roles.save_behind(directory, self.behind)

    def _order(self, step: int) -> Pending:
        settings = self.settings
        positions = positions_of_step(len(self.prompts), settings.prompts_per_step, settings.seed, step)
        sampling = self._sampling(settings.completions_per_prompt)
        prompts = [self.prompts[position] for position in positions]
        return self.roles.order(prompts, sampling, settings.seed, "step", step, weights=self.behind)

    def _sampling(self, completions: int) -> Sampling:
        return Sampling(completions, self.settings.max_new_tokens, self.settings.temperature, self.settings.top_p)

    def _learn(self, scored: Scored, chosen: list[tuple[int, Pair]], skipped: Counter[str]) -> dict[str, Any]:
        self.state.skipped += skipped
        self.state.completions += completions_of(scored)
        self.state.pairs += len(chosen)
        sequences = sequences_of(scored, chosen)
        reference = self.roles.reference_logps(sequences)
        pairs, monitored = training_batch(sequences, reference.value, len(chosen))
        learned = self.roles.learn(pairs, monitored)
        metrics = reward_metrics(scored, [pair for _, pair in chosen])
        metrics |= {f"skipped/{reason}": skipped[reason] for reason in SKIP_REASONS}
        return metrics | learned.value | role_metrics(scored, {"reference": reference, "learner": learned})

    def _evaluate(self) -> None:
        """Rewards on the held-out prompts; the seed is the same every time, so that evaluations are paired."""
        settings, state = self.settings, self.state
        started = time.perf_counter()
        sampling = self._sampling(settings.eval_completions)
        ordered = self.roles.order(list(self.held_out), sampling, settings.seed, "evaluation", evaluation=True)
        scored = self.roles.collect(ordered)
        refuse_failing_scorer(scored, settings.max_failed_scores_frac)
        found = take_in(state, scored, settings.seed)
        metrics = evaluation_metrics(found, scored) | {"eval/seconds": time.perf_counter() - started}
        self.recorder.evaluation(state.step, metrics, in_words(state.step, found))
        self._write_samples("evaluation", scored, [])

    def _write_samples(self, kind: str, scored: Scored, chosen: Sequence[tuple[int, Pair]]) -> None:
        for row in sample_rows(kind, scored, dict(chosen)):
            self.recorder.sample(self.state.step, row)


def pair_rule(settings: DpoSettings) -> PairRule:
    return PairRule(settings.min_reward_gap, settings.length_penalty, settings.choose_cut_off, settings.max_length_gap)


def pairs_of(scored: Scored, rule: PairRule) -> tuple[list[tuple[int, Pair]], Counter[str]]:
    """(position of the prompt, its pair), and how many prompts gave none by reason."""
    pairs: list[tuple[int, Pair]] = []
    skipped: Counter[str] = Counter()
    for index, (completions, rewards) in enumerate(zip(scored.completions_PG, scored.rewards_PG, strict=True)):
        result = choose_pair(completions, rewards, rule)
        if isinstance(result, Pair):
            pairs.append((index, result))
        else:
            skipped[result] += 1
    return pairs, skipped


def sequences_of(scored: Scored, chosen: Sequence[tuple[int, Pair]]) -> list[PolicySequence]:
    """All chosen, then all rejected, then the first completion of every prompt: an unselected sample to measure on."""
    wanted = [
        *((index, pair.chosen) for index, pair in chosen),
        *((index, pair.rejected) for index, pair in chosen),
        *((index, 0) for index in range(len(scored.prompts))),
    ]
    return [PolicySequence(scored.prompts[p].ids, scored.completions_PG[p][g].ids) for p, g in wanted]


def training_batch(
    sequences: Sequence[PolicySequence], logps: Sequence[float], count: int
) -> tuple[list[TrainPair], list[Monitored]]:
    """What `sequences_of` laid out, with the reference's log-probabilities."""
    pairs = [TrainPair(sequences[i], sequences[count + i], logps[i], logps[count + i]) for i in range(count)]
    return pairs, [Monitored(*item) for item in zip(sequences[2 * count :], logps[2 * count :], strict=True)]


def refuse_failing_scorer(scored: Scored, limit: float) -> None:
    """Raises ScoringError when more than `limit` of the completions have no score for a failure of a scorer."""
    total = sum(map(len, scored.rewards_PG))
    for name, failures in (("reward", scored.failures), ("second", scored.second_failures)):
        failed = sum(failures.values())
        if failed > limit * total:
            reasons = "; ".join(f"{count}x {reason}" for reason, count in failures.most_common(3))
            raise ScoringError(
                f"{failed} of {total} completions could not be scored by {NAMES[name]}, over "
                f"--max-failed-scores-frac {limit}: {reasons}"
            )
