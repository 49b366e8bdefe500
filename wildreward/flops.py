"""Arithmetic of a training step, and its share of what the device could do (model FLOPs utilisation, MFU).

A step's work is counted as the literature counts it, so that shares compare: a multiply and an add are two, padding
and recomputed activations are no work, and attention is not halved for causality.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wildreward.batching import Rows

PEAK_BF16_FLOPS = {
    "B200": 2250e12,  # nvidia.com/en-us/data-center/hgx: 36 PFLOPS of 8 with sparsity
    "H200": 989e12,  # nvidia.com/en-us/data-center/h200: 1,979 with sparsity
    "H100 NVL": 835e12,  # nvidia.com/en-us/data-center/h100: 1,671 with sparsity
    "H100 PCIe": 756e12,  # NVIDIA H100 datasheet of 2022: 1,513 with sparsity
    "H100": 989e12,  # SXM; nvidia.com/en-us/data-center/h100: 1,979 with sparsity
    "A100": 312e12,  # nvidia.com/en-us/data-center/a100: 624 with sparsity
    "L40S": 362e12,  # NVIDIA L40S datasheet: 733 with sparsity
    "L40": 181e12,  # NVIDIA L40 datasheet: 362 with sparsity
    "L4": 121e12,  # NVIDIA L4 datasheet: 242 with sparsity
    "A10": 125e12,  # NVIDIA A10 datasheet: 250 with sparsity
    "MI300X": 1307e12,  # AMD Instinct MI300X data sheet: 2,615 with sparsity
}
"""Dense bfloat16 peak of a device by the words of its name, per second, without sparsity, as its maker states it."""


def peak_flops(device_name: str, dtype: str) -> float | None:
    """Peak of a device in this arithmetic; None for what is not in the table, and for part of a GPU (MIG).

    >>> peak_flops("NVIDIA H100 80GB HBM3", "bfloat16"), peak_flops("NVIDIA H100 PCIe", "bfloat16")
    (989000000000000.0, 756000000000000.0)
    >>> peak_flops("NVIDIA A10G", "bfloat16"), peak_flops("NVIDIA H100 80GB HBM3", "float32")
    (None, None)
    """
    words = set(re.split(r"[\s-]+", device_name))
    if dtype != "bfloat16" or "MIG" in words:
        return None
    return next((peak for name, peak in PEAK_BF16_FLOPS.items() if set(name.split()) <= words), None)


@dataclass(frozen=True)
class StepWork:
    """What a token and a pair of tokens cost, forward and backward."""

    flops_per_token: float
    flops_per_pair: float

    def flops(self, lengths: Rows) -> float:
        """Of rows of these lengths.

        >>> import numpy as np
        >>> StepWork(flops_per_token=6.0, flops_per_pair=0.5).flops(np.array([2, 4]))
        46.0
        """
        return self.flops_per_token * float(lengths.sum()) + self.flops_per_pair * float((lengths**2).sum())


def step_work(parameters: Iterable[tuple[int, bool]], config: Any) -> StepWork | None:
    """From (size, trained or not) of every parameter that multiplies, which an embedding does not.

    6N a token: two N forward, two N back to the activations, two N to the weights that are trained (arXiv 2001.08361,
    section 2.1). 12 L H Q T for its attention to a row of T tokens (arXiv 2204.02311, appendix B). None for a mixture
    of experts, where a token meets only some of the weights, and where the config does not say its shape.
    """
    config = config.get_text_config()
    layers, heads = getattr(config, "num_hidden_layers", None), getattr(config, "num_attention_heads", None)
    mixture = any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts"))
    if mixture or not layers or not heads:
        return None
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    per_token = sum(size * (6 if trained else 4) for size, trained in parameters)
    return StepWork(float(per_token), 12.0 * layers * heads * head_size)


def multiplying(model: Any, embedding: Any) -> Iterable[tuple[int, bool]]:
    """(size, trained) of a model's parameters but those of its embedding; sizes are whole under ZeRO-3 too."""
    looked_up = {id(parameter) for parameter in embedding.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in looked_up:
            yield getattr(parameter, "ds_numel", parameter.numel()), parameter.requires_grad
