"""How well a step uses the devices it runs on."""

from dataclasses import dataclass
from typing import Any

import torch

from wildreward import flops
from wildreward.batching import Rows
from wildreward.reward_model import OrdinalModel


@dataclass(frozen=True)
class Speed:
    """Work of a step and peak of all devices together; None where either is not known."""

    work: flops.StepWork | None
    peak: float | None

    @classmethod
    def of(cls, model: OrdinalModel, device: Any, dtype: str, world: int) -> "Speed":
        backbone: Any = model.backbone
        device = torch.device(device)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        peak = flops.peak_flops(name, dtype)
        parameters = flops.multiplying(model, backbone.get_input_embeddings())
        return cls(flops.step_work(parameters, backbone.config), None if peak is None else peak * world)

    def flops(self, lengths: Rows) -> float:
        return 0.0 if self.work is None else self.work.flops(lengths)

    def share_of_peak(self, done: float, seconds: float) -> float | None:
        """Of so many FLOPs in so much time."""
        if self.work is None or self.peak is None or seconds <= 0:
            return None
        return done / seconds / self.peak
