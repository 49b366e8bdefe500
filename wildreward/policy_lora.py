"""LoRA adapters on a policy: put in place, switched off for the reference, merged into full weights.

The base stays as it is, so the policy with its adapters off is the starting policy: no second copy of it is needed.
Source: Hu et al. 2021, arXiv 2106.09685; the implementation is peft's.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wildreward.fetched import described
from wildreward.lora import ALL_LINEAR, NAME, inject, refuse_unknown_targets, target_modules


class LoraSettings(Protocol):
    """The settings adapters are made from."""

    @property
    def policy(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def lora_rank(self) -> int: ...
    @property
    def lora_alpha(self) -> int: ...
    @property
    def lora_targets(self) -> tuple[str, ...]: ...
    @property
    def trust_remote_code(self) -> bool: ...


def adapter_config(settings: LoraSettings) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        target_modules=target_modules(settings.lora_targets),
        base_model_name_or_path=settings.policy,
    )


def scale(settings: LoraSettings) -> float:
    """What the adapters' product is multiplied by."""
    return settings.lora_alpha / settings.lora_rank


def check_targets(settings: LoraSettings) -> None:
    """Raises UsageError for names in lora_targets that match no linear layer. The policy is built without weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if settings.lora_targets == ALL_LINEAR:
        return
    config = AutoConfig.from_pretrained(described(settings.policy), trust_remote_code=settings.trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=settings.trust_remote_code)
    refuse_unknown_targets(model, settings.lora_targets, "lm_head", settings.policy)


def add_adapter(model: nn.Module, settings: LoraSettings) -> None:
    """Put adapters into the policy, in place: they are trained, the rest is frozen. At first they change nothing."""
    inject(model, adapter_config(settings), settings.seed)


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """Inside the block the model is its base."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def parts(name: str) -> tuple[str, str] | None:
    """The adapted weight and the side (A or B) of an adapter's parameter; None for other parameters.

    >>> parts("model.layers.0.self_attn.q_proj.lora_A.default.weight")
    ('model.layers.0.self_attn.q_proj.weight', 'A')
    >>> parts("model.layers.0.self_attn.q_proj.base_layer.weight") is None
    True
    """
    module, found, side = name.removesuffix(f".{NAME}.weight").rpartition(".lora_")
    return (f"{module}.weight", side) if found else None


def by_weight(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Adapted weight -> its A and B, of all adapters among these parameters."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors:
        if adapted := parts(name):
            weight, side = adapted
            found.setdefault(weight, {})[side] = tensor
    return found


def merged(weight_OI: Tensor, a_RI: Tensor, b_OR: Tensor, scaling: float) -> Tensor:
    """The weight with its adapter in it, in the weight's own precision; R rank, O and I the layer's width.

    >>> merged(torch.eye(2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0], [1.0]]), 0.5).tolist()
    [[1.0, 0.0], [0.5, 1.0]]
    """
    change_OI = b_OR.float() @ a_RI.float() * scaling
    return (weight_OI.float() + change_OI).to(weight_OI.dtype)


def merged_state(state: Mapping[str, Tensor], scaling: float) -> dict[str, Tensor]:
    """From the state of a policy with adapters that of a plain one, under its own names."""
    plain = {name.replace(".base_layer.", "."): tensor for name, tensor in state.items() if parts(name) is None}
    for name, sides in by_weight(state.items()).items():
        plain[name] = merged(plain[name], sides["A"], sides["B"], scaling)
    return plain


def save_adapter(directory: Path, state: Mapping[str, Tensor], settings: LoraSettings) -> None:
    """The adapter alone, as peft's `PeftModel.from_pretrained` reads it."""
    from safetensors.torch import save_file

    weights = {
        f"base_model.model.{name.replace(f'.{NAME}', '')}": tensor.contiguous()
        for name, tensor in state.items()
        if parts(name)
    }
    directory.mkdir(parents=True, exist_ok=True)
    save_file(weights, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = adapter_config(settings)
    config.inference_mode = True
    config.save_pretrained(directory)
