"""The reference: a frozen copy of the policy says how probable a completion was before training, or since the refresh.

Of a policy with adapters there is no copy: the learner's workers compute the reference with the adapters off, as they
have the base already, and in shards where it is large (`Learner.reference_logps`).
"""

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rl.rollout import EngineOptions, Timed
from rl.weights import Weights, load
from wildreward.dpo import PolicySequence


class ReferenceWorker:
    """The Ray actor around the frozen policy."""

    def __init__(self, options: EngineOptions, batch_tokens: int) -> None:
        self._options, self.batch_tokens = options, batch_tokens
        self.version = 0

    @cached_property
    def _policy(self) -> tuple[Any, Any]:
        from rl.models import load_policy, threads_here

        options = self._options
        return load_policy(
            options.policy,
            options.device,
            options.dtype,
            threads_here(options.threads, options.cores_divided),
            options.trust_remote_code,
        )

    def start(self) -> None:
        _ = self._policy

    def logps(self, sequences: Sequence[PolicySequence], version: int = 0, weights: Weights | None = None) -> Timed:
        """Log-probability of each completion given its prompt, summed over its tokens: `list[float]`, in order.

        `version` says of which weights; `weights` are those, and None for version 0, the start.
        """
        import torch

        from wildreward.dpo import sequence_logps

        started = time.perf_counter()
        model, tokenizer = self._policy
        if version != self.version:
            if weights is None:
                raise ValueError(f"weights of version {version} are needed and were not given")
            load(model, weights)
            self.version = version
        with torch.inference_mode():
            value = sequence_logps(model, sequences, tokenizer.pad_token_id, self.batch_tokens)
        return Timed(value, time.perf_counter() - started, sum(len(p) + len(c) for p, c in sequences))
