"""The learner: takes preference pairs, makes one optimiser step, hands out the weights. torch AdamW in one actor.

The policy computes in evaluation mode: dropout would make the log-ratio to the reference noise. Weights and optimiser
are float32; forward and backward run under autocast when dtype is bfloat16.
"""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rl.checkpoints import fetched, staged
from rl.rollout import Timed
from wildreward.dpo import PolicySequence
from wildreward.errors import TrainingError
from wildreward.settings.dpo import DpoSettings


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
    """`step`, `weights`, `save`, `load`: all the loop knows of a learner."""

    def __init__(self, settings: DpoSettings) -> None:
        self.settings = settings
        self.version = 0

    def start(self) -> None:
        _ = self._optimizer

    def step(self, pairs: Sequence[TrainPair], monitored: Sequence[Monitored]) -> Timed:
        """One optimiser step over all pairs: a dict of metrics. Without pairs nothing changes.

        Raises TrainingError, with the weights untouched, when the loss or the gradient is not finite.
        """
        started = time.perf_counter()
        metrics = self._measure(monitored)
        if pairs:
            metrics |= self._learn(pairs)
            self.version += 1
        tokens = sum(len(s.prompt) + len(s.completion) for pair in pairs for s in (pair.chosen, pair.rejected))
        return Timed(metrics, time.perf_counter() - started, tokens)

    def weights(self) -> Any:
        """The weights in the precision of the rollouts, as `rl.weights.Weights`."""
        import torch

        from rl.weights import pack

        return pack(self._model, getattr(torch, self.settings.dtype))

    def save(self, directory: str) -> None:
        """Policy (Hugging Face, float32), tokenizer, and the optimiser's state."""
        import torch

        with staged(directory) as path:
            self._model.save_pretrained(path / "policy")
            self._tokenizer.save_pretrained(path / "policy")
            torch.save({"optimizer": self._optimizer.state_dict(), "version": self.version}, path / "optimizer.pt")

    def load(self, directory: str) -> None:
        """Continue from what `save` wrote."""
        import torch

        from rl.models import load_policy

        settings = self.settings
        with fetched(directory) as path:
            saved, _ = load_policy(str(path / "policy"), "cpu", "float32", settings.threads, settings.trust_remote_code)
            state = torch.load(path / "optimizer.pt", map_location=self.settings.device, weights_only=True)
        self._model.load_state_dict(saved.state_dict())
        self._optimizer.load_state_dict(state["optimizer"])
        self.version = state["version"]

    @cached_property
    def _policy(self) -> tuple[Any, Any]:
        from rl.models import load_policy

        settings = self.settings
        return load_policy(settings.policy, settings.device, "float32", settings.threads, settings.trust_remote_code)

    @property
    def _model(self) -> Any:
        return self._policy[0]

    @property
    def _tokenizer(self) -> Any:
        return self._policy[1]

    @cached_property
    def _optimizer(self) -> Any:
        import torch

        settings = self.settings
        return torch.optim.AdamW(self._model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)

    def _measure(self, monitored: Sequence[Monitored]) -> dict[str, float]:
        """KL to the reference and entropy of the policy as it was when it wrote these completions."""
        import torch

        from wildreward.batching import token_batches
        from wildreward.dpo import collate, completion_logits, token_entropies, token_logps

        if not monitored:
            return {}
        kl = entropy = tokens = 0.0
        lengths = [len(item.sequence.prompt) + len(item.sequence.completion) for item in monitored]
        with torch.inference_mode(), self._autocast():
            for group in token_batches(lengths, self.settings.micro_batch_tokens):
                batch = collate([monitored[index].sequence for index in group], self._tokenizer.pad_token_id)
                logits_BCV = completion_logits(self._model, batch)
                logps_BC = token_logps(logits_BCV, batch.completion_ids_BC, batch.completion_mask_BC)
                kl += logps_BC.sum().item() - sum(monitored[index].reference for index in group)
                entropy += token_entropies(logits_BCV, batch.completion_mask_BC).sum().item()
                tokens += batch.completion_mask_BC.sum().item()
        return {"kl": kl / len(monitored), "kl_per_token": kl / tokens, "entropy": entropy / tokens}

    def _learn(self, pairs: Sequence[TrainPair]) -> dict[str, float]:
        import torch

        from wildreward.batching import token_batches

        self._optimizer.zero_grad(set_to_none=True)
        totals: dict[str, float] = {}
        lengths = [
            max(len(p.chosen.prompt) + len(p.chosen.completion), len(p.rejected.prompt) + len(p.rejected.completion))
            for p in pairs
        ]
        for group in token_batches([2 * length for length in lengths], self.settings.micro_batch_tokens):
            for name, value in self._accumulate([pairs[index] for index in group], len(pairs)).items():
                totals[name] = totals.get(name, 0.0) + value
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), self.settings.max_grad_norm))
        self._refuse_unless_finite("gradient norm", norm)
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = self._lr()
        self._optimizer.step()
        return totals | {"grad_norm": norm, "lr": self._lr()}

    def _accumulate(self, pairs: Sequence[TrainPair], total: int) -> dict[str, float]:
        """Forward and backward of some of a step's pairs; their share of the step's means."""
        import torch

        from wildreward.dpo import collate, completion_logits, pair_loss, token_logps

        settings, count = self.settings, len(pairs)
        batch = collate([p.chosen for p in pairs] + [p.rejected for p in pairs], self._tokenizer.pad_token_id)
        with self._autocast():
            logits_BCV = completion_logits(self._model, batch)
        logps_B = token_logps(logits_BCV, batch.completion_ids_BC, batch.completion_mask_BC).sum(1)
        lengths_B = batch.completion_mask_BC.sum(1).to(logps_B)
        reference_B = torch.tensor([p.reference_chosen for p in pairs] + [p.reference_rejected for p in pairs])
        reference_B = reference_B.to(logps_B)
        scale_B = lengths_B if settings.length_normalized else torch.ones_like(lengths_B)
        policy_B, reference_B = logps_B / scale_B, reference_B / scale_B
        result = pair_loss(
            policy_B[:count],
            policy_B[count:],
            reference_B[:count],
            reference_B[count:],
            beta=settings.beta,
            kind=settings.loss,
            label_smoothing=settings.label_smoothing,
        )
        sft = -(logps_B[:count] / lengths_B[:count]).mean()
        loss = result.loss + settings.sft_weight * sft
        self._refuse_unless_finite("loss", loss.item())
        share = count / total
        (loss * share).backward()
        chosen, rejected = result.chosen_P.mean().item(), result.rejected_P.mean().item()
        accuracy = (result.chosen_P > result.rejected_P).float().mean().item()
        return {
            "loss": loss.item() * share,
            "implicit/chosen": chosen * share,
            "implicit/rejected": rejected * share,
            "implicit/margin": (chosen - rejected) * share,
            "implicit/accuracy": accuracy * share,
        }

    def _lr(self) -> float:
        """Of the step about to be made: linear warm-up, then constant."""
        return self.settings.lr * min(1.0, (self.version + 1) / max(1, self.settings.lr_warmup_steps))

    def _autocast(self) -> Any:
        import torch

        if self.settings.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.settings.device, dtype=getattr(torch, self.settings.dtype))

    def _refuse_unless_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            self._optimizer.zero_grad(set_to_none=True)
            raise TrainingError(
                f"the {what} of step {self.version + 1} is {value}: the weights were left as they were, and the run "
                f"stops; lower --lr (found {self.settings.lr}), or look at the end of samples.jsonl"
            )
