"""The engine of `wildreward.zero` around an ordinal model: its parameter groups and its cutpoints."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from wildreward import zero
from wildreward.lora import head_name
from wildreward.ordinal import ordered
from wildreward.reward_model import OrdinalModel
from wildreward.settings.train import TrainSettings


def initialise(model: OrdinalModel, settings: TrainSettings) -> Any:
    """The DeepSpeed engine, in the process group that Ray Train has already made."""
    return zero.initialise(model, parameter_groups(model, settings), settings)


def parameter_groups(model: OrdinalModel, settings: TrainSettings) -> list[dict[str, Any]]:
    """Decayed, undecayed (biases, norms), and the new head with its cutpoints; `scale` multiplies the learning rate."""
    head = {id(parameter) for parameter in head_parameters(model)}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    fresh: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (fresh if id(parameter) in head else decayed if zero.is_matrix(parameter) else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay, "scale": 1.0},
        {"params": plain, "weight_decay": 0.0, "scale": 1.0},
        {"params": fresh, "weight_decay": 0.0, "scale": settings.head_lr_multiplier},
    ]
    return [group for group in groups if group["params"]]


def head_parameters(model: OrdinalModel) -> Iterator[nn.Parameter]:
    """The classifier of a Hugging Face sequence-classification model and the cutpoints."""
    yield from getattr(model.backbone, head_name(model.backbone)).parameters()
    if model.cutpoints is not None:
        yield from model.cutpoints.parameters()


def cutpoints(engine: Any) -> list[float] | None:
    """Of a coral head, as they are now; under ZeRO-3 every rank must call it."""
    module = engine.module.cutpoints
    if module is None:
        return None
    with zero.gathered(list(module.parameters())):
        values: list[float] = ordered(module.first.detach(), module.gaps.detach()).tolist()
    return values
