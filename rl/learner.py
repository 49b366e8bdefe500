"""The learner: takes preference pairs, makes one optimiser step, hands out the weights. DeepSpeed ZeRO on N workers.

Every worker is given the whole step's pairs and computes its share of their micro-batches, as many as every other, so
that none waits in a collective for one that is done. N workers compute what one does, up to the order of sums.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
import torch.distributed as dist

from rl import learner_checkpoint
from rl.policy_engine import build
from rl.process_group import Address, Rendezvous, threads_of_worker
from rl.publishing import as_reference, published
from rl.rollout import Timed
from rl.weights import Put, Weights
from wildreward import zero
from wildreward.batching import MicroBatch, micro_batches
from wildreward.dpo import (
    Objective,
    PolicySequence,
    collate,
    completion_logits,
    objective_loss,
    pair_logps,
    pair_tokens,
    placed_logps,
    rows_to_read,
    token_entropies,
    token_logps,
)
from wildreward.errors import TrainingError
from wildreward.schedule import between
from wildreward.settings.dpo import DpoSettings

AVERAGED = ("loss", "loss/sft", "implicit/chosen", "implicit/rejected", "implicit/accuracy")
"""Metrics that are means over the pairs of a step."""


@dataclass(frozen=True)
class TrainPair:
    """Chosen and rejected completion of one prompt, with the reference's log-probabilities of both."""

    chosen: PolicySequence
    rejected: PolicySequence
    reference_chosen: float
    reference_rejected: float


@dataclass(frozen=True)
class Monitored:
    """A completion as sampled, with the reference's log-probability: what KL and entropy are measured on."""

    sequence: PolicySequence
    reference: float


class Learner:
    """One worker. Every method but `open` is collective: it is called on all of them, with the same arguments."""

    def __init__(self, settings: DpoSettings) -> None:
        self.settings = settings
        self.version = 0
        self.rank, self.world = 0, 1
        self._rendezvous = Rendezvous()
        self.engine: Any = None
        self.tokenizer: Any = None

    def open(self, world: int) -> Address:
        """Of rank 0: where the others find it."""
        return self._rendezvous.open(world)

    def start(self, rank: int = 0, world: int = 1, address: Address | None = None) -> None:
        """Join the others and take this worker's part of the policy."""
        self.rank, self.world = rank, world
        self._rendezvous.join(rank, world, address, self.settings.device)
        threads = threads_of_worker(self.settings.threads, self.settings.cores_divided)
        torch.set_num_threads(threads)  # Ray sets 1 where less than a CPU is asked for
        self.engine, self.tokenizer = build(self.settings)

    def step(self, pairs: Sequence[TrainPair], monitored: Sequence[Monitored]) -> Timed:
        """One optimiser step over all pairs: a dict of metrics. Without pairs nothing changes.

        Raises TrainingError on every worker, with the weights untouched, when the loss or the gradient is not finite.
        """
        started = time.perf_counter()
        metrics = self._measure(monitored)
        if pairs:
            metrics |= self._learn(pairs)
            self.version += 1
        tokens = sum(len(s.prompt) + len(s.completion) for pair in pairs for s in (pair.chosen, pair.rejected))
        return Timed(metrics, time.perf_counter() - started, tokens)

    def weights(self, put: Put = ray.put) -> Weights | None:
        """On rank 0 what the rollout engines load, in the precision of the rollouts."""
        return published(self.engine, self.settings, put)

    def reference_logps(self, sequences: Sequence[PolicySequence], reference: Weights | None) -> Timed:
        """Of a policy with adapters: log-probability of each completion under it with them off, or as they were.

        `reference`: None for the starting policy. See `rl.reference.ReferenceWorker.logps`.
        """
        started = time.perf_counter()
        with as_reference(self.engine, reference):
            value = self._logps(sequences)
        return Timed(value, time.perf_counter() - started, sum(len(p) + len(c) for p, c in sequences))

    def save(self, directory: str) -> None:
        learner_checkpoint.save(self, directory)

    def load(self, directory: str) -> None:
        """Continue from what `save` wrote."""
        learner_checkpoint.load(self, directory)

    def _measure(self, monitored: Sequence[Monitored]) -> dict[str, float]:
        """KL to the reference and entropy of the policy as it was when it wrote these completions."""
        if not monitored:
            return {}
        kl = entropy = 0.0
        sequences = [item.sequence for item in monitored]
        self.engine.eval()
        for micro in self._share([len(prompt) + len(completion) for prompt, completion in sequences]):
            batch = collate([sequences[row] for row in micro.rows], self.tokenizer.pad_token_id)
            with torch.no_grad():
                logits_BCV = completion_logits(self.engine, batch)
            if micro.filler:
                continue
            logps_BC = token_logps(logits_BCV, batch.completion_ids_BC, batch.completion_mask_BC)
            kl += logps_BC.sum().item() - sum(monitored[row].reference for row in micro.rows)
            entropy += token_entropies(logits_BCV, batch.completion_mask_BC).sum().item()
        kl, entropy = self._totals([kl, entropy])
        tokens = sum(len(sequence.completion) for sequence in sequences)
        return {"kl": kl / len(monitored), "kl_per_token": kl / tokens, "entropy": entropy / tokens}

    def _logps(self, sequences: Sequence[PolicySequence]) -> list[float]:
        """Of every sequence, on every worker."""
        mine: dict[int, float] = {}
        rows = rows_to_read(self.engine, sequences)
        self.engine.eval()
        for count in sorted({len(row.completions) for row in rows}):
            alike = [row for row in rows if len(row.completions) == count]
            for micro in self._share([row.tokens for row in alike]):
                group = [alike[index] for index in micro.rows]
                with torch.no_grad():
                    mine |= dict(placed_logps(self.engine, group, self.tokenizer.pad_token_id))
        gathered: list[Any] = [None] * self.world
        dist.all_gather_object(gathered, mine)
        logps = {row: value for part in gathered for row, value in part.items()}
        return [logps[row] for row in range(len(sequences))]

    def _share(self, lengths: Sequence[int]) -> list[MicroBatch]:
        """This worker's micro-batches of rows of so many padded tokens; every worker has as many."""
        limit = self.settings.micro_batch_tokens
        return micro_batches(np.array(lengths), np.arange(len(lengths)), self.world, limit)[self.rank]

    def _learn(self, pairs: Sequence[TrainPair]) -> dict[str, float]:
        rate = self._lr()
        zero.set_learning_rate(self.engine, rate)
        self.engine.train()
        lengths = pair_tokens(self.engine, [(pair.chosen, pair.rejected) for pair in pairs])
        sums = [0.0] * len(AVERAGED)
        for micro in self._share(lengths):
            found = self._accumulate([pairs[row] for row in micro.rows], 0.0 if micro.filler else 1 / len(pairs))
            sums = [total + value for total, value in zip(sums, found, strict=True)]
        means = dict(zip(AVERAGED, self._totals(sums), strict=True))
        try:
            zero.check_finite(means["loss"], "the loss")
            norm = zero.step(self.engine)
        except TrainingError as error:
            raise self._refusal(str(error)) from error
        margin = means["implicit/chosen"] - means["implicit/rejected"]
        return means | {"implicit/margin": margin, "grad_norm": norm, "lr": rate, "beta": self._objective().beta}

    def _accumulate(self, pairs: Sequence[TrainPair], weight: float) -> list[float]:
        """Forward and backward of some of a step's pairs; AVERAGED, each pair with `weight` (a filler's is 0)."""
        sides = [(pair.chosen, pair.rejected) for pair in pairs]
        policy_B, lengths_B = pair_logps(self.engine, sides, self.tokenizer.pad_token_id)
        reference = [p.reference_chosen for p in pairs] + [p.reference_rejected for p in pairs]
        reference_B = torch.tensor(reference).to(policy_B)
        result, sft_P = objective_loss(policy_B, reference_B, lengths_B, self._objective())
        # DeepSpeed averages gradients over workers; the loss is the mean over all pairs of the step.
        self.engine.backward(result.loss_P.sum() * weight * self.world, scale_wrt_gas=False)
        better_P = (result.chosen_P > result.rejected_P).float()
        averaged = (result.loss_P, sft_P, result.chosen_P, result.rejected_P, better_P)
        return [values_P.sum().item() * weight for values_P in averaged]

    def _totals(self, values: Sequence[float]) -> list[float]:
        """Sums over all workers."""
        summed = torch.tensor(values, dtype=torch.float64, device=self.engine.device)
        dist.all_reduce(summed)
        return summed.tolist()

    def _objective(self) -> Objective:
        """Of the step about to be made: beta follows its schedule."""
        settings, beta = self.settings, self.settings.beta
        if settings.beta_end is not None:
            total = settings.schedule_steps or settings.steps
            beta = between(self.version, total, beta, settings.beta_end, settings.beta_schedule)
        return Objective(beta, settings.loss, settings.label_smoothing, settings.sft_weight, settings.length_normalized)

    def _lr(self) -> float:
        """Of the step about to be made: linear warm-up, then the schedule."""
        settings, warmup = self.settings, self.settings.lr_warmup_steps
        risen = min(1.0, (self.version + 1) / max(1, warmup))
        total = (settings.schedule_steps or 0) - warmup
        return risen * between(
            self.version - warmup, total, settings.lr, settings.lr * settings.min_lr_frac, settings.lr_schedule
        )

    def _refusal(self, what: str) -> TrainingError:
        return TrainingError(
            f"step {self.version + 1}: {what}. The weights were left as they were, and the run stops "
            f"(--lr is {self.settings.lr}); look at the end of samples.jsonl"
        )
