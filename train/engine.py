"""DeepSpeed around an ordinal model: configuration, parameter groups, full weights from any ZeRO stage."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from wildreward.reward_model import OrdinalModel
from wildreward.settings.train import TrainSettings

CHECKPOINT_TAG = "ds"


def skip_compiled_ops() -> None:
    """Keep DeepSpeed from compiling its shared-memory communication op, which takes over a minute on a fresh machine.

    `init_distributed` builds it wherever a C++ compiler is found, although only tensor-parallel inference calls it;
    DeepSpeed keeps one dictionary of compatible ops and reads it here. Its optimisers compile too: see `torch_adam`.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def config(settings: TrainSettings) -> dict[str, Any]:
    """The DeepSpeed configuration. Micro-batches vary in number, so `step()` is the accumulation boundary."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": settings.dtype == "bfloat16"},
        "zero_optimization": {"stage": settings.zero_stage, "overlap_comm": False},
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": settings.lr,
                "betas": list(settings.betas),
                "weight_decay": settings.weight_decay,
                "torch_adam": True,
                "fused": True,
            },
        },
    }


def parameter_groups(model: OrdinalModel, settings: TrainSettings) -> list[dict[str, Any]]:
    """Decayed, undecayed (biases, norms), and the new head with its cutpoints; `scale` multiplies the learning rate."""
    head = {id(parameter) for parameter in head_parameters(model)}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    fresh: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (fresh if id(parameter) in head else decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay, "scale": 1.0},
        {"params": plain, "weight_decay": 0.0, "scale": 1.0},
        {"params": fresh, "weight_decay": 0.0, "scale": settings.head_lr_multiplier},
    ]
    return [group for group in groups if group["params"]]


def head_parameters(model: OrdinalModel) -> Iterator[nn.Parameter]:
    """The classifier of a Hugging Face sequence-classification model, under either of its names, and the cutpoints."""
    for name in ("classifier", "score"):
        if hasattr(model.backbone, name):
            yield from getattr(model.backbone, name).parameters()
    if model.cutpoints is not None:
        yield from model.cutpoints.parameters()


def initialise(model: OrdinalModel, settings: TrainSettings) -> Any:
    """The DeepSpeed engine, in the process group that Ray Train has already made."""
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel("ERROR")
    skip_compiled_ops()
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=parameter_groups(model, settings),
        config=config(settings),
        dist_init_required=False,
    )
    return engine


def set_learning_rate(engine: Any, rate: float) -> None:
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def full_state(engine: Any, keep: bool) -> dict[str, torch.Tensor]:
    """Weights of the whole model, on the CPU of the ranks that `keep` them; under ZeRO-3 every rank must call it."""
    import deepspeed

    state: dict[str, torch.Tensor] = {}
    for name, parameter in engine.module.named_parameters():
        gathered = [parameter] if hasattr(parameter, "ds_id") else []
        with deepspeed.zero.GatheredParameters(gathered, enabled=bool(gathered)):
            if keep:
                state[name] = parameter.detach().to("cpu", copy=True)
    if keep:
        state |= {name: buffer.detach().cpu() for name, buffer in engine.module.named_buffers()}
    return state
