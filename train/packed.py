"""The `attention` setting: which models read packed rows, and the input of a forward pass either way."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wildreward import packing
from wildreward.errors import UsageError
from wildreward.pretrained import pad
from wildreward.settings.train import TrainSettings


def is_packed(settings: TrainSettings, config: Any) -> bool:
    """Whether rows of this backbone are packed. Raises UsageError where that was asked for and cannot be."""
    if settings.attention == "padded":
        return False
    obstacle = packing.obstacle(config)
    if obstacle and settings.attention == "packed":
        raise UsageError(f"--attention packed: {settings.backbone}: {obstacle}; use padded, or auto")
    return obstacle is None


def prepare(settings: TrainSettings, backbone: Any) -> bool:
    """Have the model read packs, if it is to; whether it is."""
    if not is_packed(settings, backbone.config):
        return False
    cuda = torch.cuda.is_available() and settings.device != "cpu"
    packing.prepare(backbone, "cuda" if cuda else "cpu", getattr(torch, settings.dtype))
    return True


def inputs(ids: Sequence[Sequence[int]], packed: bool, pad_token_id: int, device: Any) -> dict[str, Tensor]:
    """Arguments of `OrdinalModel` for one micro-batch."""
    if packed:
        input_ids, bounds = packing.pack(ids)
        return {"input_ids": input_ids.to(device), "bounds": bounds}
    input_ids, mask = pad(ids, pad_token_id)
    return {"input_ids": input_ids.to(device), "attention_mask": mask.to(device)}
