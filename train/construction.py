"""The model a rank trains: loaded whole, or under ZeRO-3 built in shards from the start.

ZeRO 0-2 keep all weights on every rank, so every rank loads them, in the precision of the run. Under ZeRO-3 no rank but
0 ever holds the whole model: each builds its shards (`deepspeed.zero.Init`), and rank 0 reads the weights and hands
them out tensor by tensor. An 8B in bfloat16 then takes 16 GB of host memory once, not on every rank. Both ways start
from the same weights, the fresh head included.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wildreward import zero
from wildreward.lora import add_adapter
from wildreward.minilm import model_directory
from wildreward.ordinal import frequency_cutpoints
from wildreward.pretrained import load_tokenizer, pad_id
from wildreward.reward_model import OrdinalModel, new_model, num_labels, with_head
from wildreward.settings.train import TrainSettings


def build(settings: TrainSettings, labels: Tensor) -> tuple[OrdinalModel, Any]:
    """(model ready for DeepSpeed, tokenizer). `labels` of the training rows place the cutpoints."""
    cutpoints = frequency_cutpoints(labels, settings.num_classes) if settings.cutpoint_start == "frequencies" else None
    model, tokenizer = (_sharded if settings.zero_stage == 3 else _whole)(settings, cutpoints)
    if settings.lora_rank:
        add_adapter(model, settings)
    _one_precision(model, getattr(torch, settings.dtype))
    if model.cutpoints is not None and settings.cutpoint_freedom != "learned":
        model.cutpoints.requires_grad_(False)
    backbone: Any = model.backbone
    if settings.freeze_embeddings:
        backbone.get_input_embeddings().requires_grad_(False)
    if settings.gradient_checkpointing:
        backbone.activation_checkpointing_enable()
    return model, tokenizer


def _whole(settings: TrainSettings, cutpoints: list[float] | None) -> tuple[OrdinalModel, Any]:
    return new_model(
        settings.backbone,
        settings.head,
        settings.num_classes,
        dtype=settings.dtype,
        cutpoints=cutpoints,
        trust_remote_code=settings.trust_remote_code,
        pad_token=settings.pad_token,
    )


def _sharded(settings: TrainSettings, cutpoints: list[float] | None) -> tuple[OrdinalModel, Any]:
    """The same model with its weights spread over the ranks. Collective."""
    full = _whole(settings, cutpoints)[0].backbone if dist.get_rank() == 0 else None
    tokenizer = load_tokenizer(settings.backbone, settings.trust_remote_code, settings.pad_token)
    backbone = _shell(settings, pad_id(tokenizer))
    zero.hand_out(full, backbone)
    return with_head(backbone, settings.head, settings.num_classes, cutpoints), tokenizer


def _one_precision(model: OrdinalModel, dtype: torch.dtype) -> None:
    """DeepSpeed casts a whole model, but not what stands beside shards: cutpoints and adapters."""
    for parameter in model.parameters():
        if not hasattr(parameter, "ds_id"):
            parameter.data = parameter.data.to(dtype)


def _shell(settings: TrainSettings, pad_token_id: int) -> nn.Module:
    """A model of empty shards."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(
        model_directory(settings.backbone),
        trust_remote_code=settings.trust_remote_code,
        num_labels=num_labels(settings.head, settings.num_classes),
    )
    config.pad_token_id = pad_token_id
    with zero.shards_only(settings):
        return AutoModelForSequenceClassification.from_config(
            config, dtype=getattr(torch, settings.dtype), trust_remote_code=settings.trust_remote_code
        )
