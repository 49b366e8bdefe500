"""The online DPO loop: rollouts -> rewards -> pairs -> reference -> learner -> new weights, step after step.

order(step 1) -> collect -> learn -> order(step 2) ...      staleness 0: every completion is of the newest weights
order(step 1) -> collect -> order(step 2) -> learn ...      staleness 1: the next rollouts while the learner works
"""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rl.checkpoints import Checkpoints, State
from rl.learner import Monitored, TrainPair
from rl.recorder import Recorder
from rl.roles import Pending, PolicyPrompt, Roles, Scored
from rl.rollout import Sampling, Timed
from wildreward.dpo import PolicySequence
from wildreward.errors import WildrewardError
from wildreward.pairs import Pair, PairRule, choose_pair
from wildreward.prompts import positions_of_step
from wildreward.settings.dpo import DpoSettings

SAMPLES_PER_LINE = 2


class ScoringError(WildrewardError):
    """Too many completions of a step could not be scored."""


@dataclass
class OnlineDpo:
    """One run: what it works with, and `state`, where it is."""

    settings: DpoSettings
    roles: Roles
    prompts: Sequence[PolicyPrompt]
    held_out: Sequence[PolicyPrompt]
    state: State
    recorder: Recorder
    checkpoints: Checkpoints

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
        ahead = self._order(state.step + 1) if more and settings.staleness else None
        staleness = self.roles.version - scored.version
        metrics = self._learn(scored) | {"staleness": staleness, "version": self.roles.version}
        state.step, state.version = state.step + 1, self.roles.version
        metrics["seconds/step"] = time.perf_counter() - started
        state.seconds += metrics["seconds/step"]
        self.recorder.metrics(state.step, metrics)
        self.recorder.line(state.step, settings.steps, metrics)
        if (state.step - 1) % settings.sample_every_steps == 0:
            self._write_samples(scored)
        last = state.step == settings.steps
        if last or (settings.eval_every_steps and state.step % settings.eval_every_steps == 0):
            self._evaluate()
        if last or state.step % settings.checkpoint_every_steps == 0:
            self.checkpoints.write(state, self.roles.save)
        return self._order(state.step) if more and ahead is None else ahead

    def _order(self, step: int) -> Pending:
        settings = self.settings
        positions = positions_of_step(len(self.prompts), settings.prompts_per_step, settings.seed, step)
        sampling = self._sampling(settings.completions_per_prompt)
        return self.roles.order(
            [self.prompts[position] for position in positions], sampling, settings.seed, "step", step
        )

    def _sampling(self, completions: int) -> Sampling:
        return Sampling(completions, self.settings.max_new_tokens, self.settings.temperature, self.settings.top_p)

    def _learn(self, scored: Scored) -> dict[str, Any]:
        settings = self.settings
        rule = PairRule(settings.min_reward_gap, settings.length_penalty, settings.choose_cut_off)
        chosen, skipped = pairs_of(scored, rule)
        self.state.skipped += skipped
        self.state.pairs += len(chosen)
        sequences = sequences_of(scored, chosen)
        reference = self.roles.reference_logps(sequences)
        pairs, monitored = training_batch(sequences, reference.value, len(chosen))
        learned = self.roles.learn(pairs, monitored)
        metrics = reward_metrics(scored, [pair for _, pair in chosen])
        metrics |= {f"skipped/{reason}": count for reason, count in skipped.items()}
        return metrics | learned.value | role_metrics(scored, {"reference": reference, "learner": learned})

    def _evaluate(self) -> None:
        """Rewards on the held-out prompts; the seed is the same every time, so that evaluations are paired."""
        settings, state = self.settings, self.state
        sampling = self._sampling(settings.eval_completions)
        scored = self.roles.collect(self.roles.order(self.held_out, sampling, settings.seed, "evaluation"))
        refuse_failing_scorer(scored, settings.max_failed_scores_frac)
        state.evaluations[state.step] = scored.rewards_PG
        known = [reward for row in scored.rewards_PG for reward in row if reward is not None]
        metrics = {"eval/reward": statistics.fmean(known) if known else float("nan"), "eval/scored": len(known)}
        self.recorder.metrics(state.step, metrics)
        print(f"held-out prompts at step {state.step}: mean reward {metrics['eval/reward']:.3f}", flush=True)
        self._write_samples(scored, kind="evaluation")

    def _write_samples(self, scored: Scored, kind: str = "step") -> None:
        for index in range(min(SAMPLES_PER_LINE, len(scored.prompts))):
            completions = [
                {"text": item.text, "reward": reward, "tokens": len(item.ids), "cut_off": item.cut_off}
                for item, reward in zip(scored.completions_PG[index], scored.rewards_PG[index], strict=True)
            ]
            messages = list(scored.prompts[index].prompt.messages)
            self.recorder.sample(self.state.step, {"kind": kind, "messages": messages, "completions": completions})


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


def reward_metrics(scored: Scored, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Of all completions of the step, and of its pairs."""
    rewards = [reward for row in scored.rewards_PG for reward in row if reward is not None]
    completions = [item for row in scored.completions_PG for item in row]
    metrics: dict[str, Any] = {
        "completion/tokens": statistics.fmean(len(item.ids) for item in completions),
        "completion/cut_off_frac": statistics.fmean(item.cut_off for item in completions),
        "completion/empty_frac": statistics.fmean(not item.text for item in completions),
        "scores_failed": sum(scored.failures.values()),
        "pairs": len(pairs),
    }
    if rewards:
        metrics |= {"reward/mean": statistics.fmean(rewards), "reward/std": statistics.pstdev(rewards)}
    if pairs:
        chosen = statistics.fmean(pair.chosen_reward for pair in pairs)
        rejected = statistics.fmean(pair.rejected_reward for pair in pairs)
        metrics |= {"reward/chosen": chosen, "reward/rejected": rejected, "reward/margin": chosen - rejected}
    return metrics


def role_metrics(scored: Scored, others: dict[str, Timed]) -> dict[str, float]:
    """Seconds and tokens per second of every role in this step."""
    seconds = scored.seconds | {role: timed.seconds for role, timed in others.items()}
    tokens = scored.tokens | {role: timed.tokens for role, timed in others.items()}
    return {f"seconds/{role}": value for role, value in seconds.items()} | {
        f"tokens_per_s/{role}": tokens[role] / value for role, value in seconds.items() if value > 0
    }


def refuse_failing_scorer(scored: Scored, limit: float) -> None:
    """Raises ScoringError when more than `limit` of the completions have no score for a failure of the scorer."""
    failed, total = sum(scored.failures.values()), sum(map(len, scored.rewards_PG))
    if failed > limit * total:
        reasons = "; ".join(f"{count}x {reason}" for reason, count in scored.failures.most_common(3))
        raise ScoringError(
            f"{failed} of {total} completions could not be scored, over --max-failed-scores-frac {limit}: {reasons}"
        )
