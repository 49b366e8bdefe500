"""The policy as the learner trains it: whole or built in shards, with adapters or without, in a DeepSpeed engine.

Dropout is switched off, for it would make the log-ratio to the reference noise. In bfloat16 DeepSpeed keeps the weights
of the optimiser in float32.
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rl.models import load_policy, load_tokenizer
from wildreward import zero
from wildreward.fetched import local_copy
from wildreward.policy_lora import add_adapter, merged_state, save_adapter, scale
from wildreward.settings.dpo import DpoSettings

ADAPTER_FOLDER = "adapter"


def build(settings: DpoSettings) -> tuple[Any, Any]:
    """(DeepSpeed engine, tokenizer). Collective. Raises CheckpointError when the policy cannot be loaded."""
    model, tokenizer = (_sharded if settings.zero_stage == 3 else _whole)(settings)
    if settings.lora_rank:
        add_adapter(model, settings)
        _one_precision(model, getattr(torch, settings.dtype))
    without_dropout(model)
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return zero.initialise(model, parameter_groups(model, settings.weight_decay), settings), tokenizer


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases and norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if zero.is_matrix(p)], "weight_decay": weight_decay, "scale": 1.0},
        {"params": [p for p in trained if not zero.is_matrix(p)], "weight_decay": 0.0, "scale": 1.0},
    ]
    return [group for group in groups if group["params"]]


def without_dropout(model: nn.Module) -> None:
    """In place: training mode, which gradient checkpointing needs, then computes what evaluation mode does.

    Attention layers hold their rate as a plain number. The configuration, which is saved, stays as it was.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def save_policy(engine: Any, tokenizer: Any, settings: DpoSettings, directory: Path) -> None:
    """The policy as Hugging Face reads it, merged where it has adapters, these in adapter/ beside. Collective.

    Raises TrainingError, on every rank, for weights that are not numbers.
    """
    first = dist.get_rank() == 0
    state = zero.full_state(engine, keep=first)
    if not first:
        return
    directory.mkdir(parents=True, exist_ok=True)
    plain = merged_state(state, scale(settings)) if settings.lora_rank else state
    engine.module.save_pretrained(directory, state_dict=_stored(engine.module, plain))
    tokenizer.save_pretrained(directory)
    if settings.lora_rank:
        save_adapter(directory / ADAPTER_FOLDER, state, settings)


def _stored(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the buffers that no checkpoint holds (rotary frequencies)."""
    stored = {name.replace(".base_layer.", ".") for name in model.state_dict()}
    return {name: tensor for name, tensor in state.items() if name in stored}


def _whole(settings: DpoSettings) -> tuple[Any, Any]:
    return load_policy(settings.policy, "cpu", settings.dtype, torch.get_num_threads(), settings.trust_remote_code)


def _sharded(settings: DpoSettings) -> tuple[Any, Any]:
    """Rank 0 reads the weights and hands them out, tensor by tensor: no other rank ever holds the whole model."""
    from transformers import AutoConfig, AutoModelForCausalLM

    full = _whole(settings)[0] if dist.get_rank() == 0 else None
    config = AutoConfig.from_pretrained(local_copy(settings.policy), trust_remote_code=settings.trust_remote_code)
    with zero.shards_only(settings):
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, settings.dtype), trust_remote_code=settings.trust_remote_code
        )
    model.generation_config = full.generation_config if full is not None else model.generation_config
    zero.hand_out(full, model)
    return model, load_tokenizer(settings.policy, settings.trust_remote_code)


def _one_precision(model: nn.Module, dtype: torch.dtype) -> None:
    """DeepSpeed casts a whole model, but not the adapters that stand beside shards."""
    for parameter in model.parameters():
        if not hasattr(parameter, "ds_id"):
            parameter.data = parameter.data.to(dtype)
