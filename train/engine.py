"""DeepSpeed around an ordinal model: configuration, parameter groups, full weights from any ZeRO stage."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from wildreward.errors import TrainingError
from wildreward.lora import head_name
from wildreward.ordinal import ordered
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
        # With the check a gradient that is not a number stops before the weights; without it bfloat16 would apply it.
        "bf16": {"enabled": settings.dtype == "bfloat16", "check_grad_overflow": True},
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
            matrix = len(getattr(parameter, "ds_shape", parameter.shape)) > 1  # a shard of ZeRO-3 is flat itself
            (fresh if id(parameter) in head else decayed if matrix else plain).append(parameter)
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


def join_process_group() -> None:
    """Let DeepSpeed use the process group that Ray Train has already made."""
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel("ERROR")
    skip_compiled_ops()
    deepspeed.init_distributed(dist_init_required=False)


def initialise(model: OrdinalModel, settings: TrainSettings) -> Any:
    """The DeepSpeed engine, in the process group that Ray Train has already made."""
    import deepspeed

    join_process_group()
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=parameter_groups(model, settings),
        config=config(settings),
        dist_init_required=False,
    )
    _keep_gradient_norm(engine, settings)
    return engine


def _keep_gradient_norm(engine: Any, settings: TrainSettings) -> None:
    """ZeRO-0 in float32 is the one case where DeepSpeed clips by the norm and throws it away. Here it is kept, and a
    norm that is not a number ends the step before the optimiser has seen it."""
    from deepspeed.runtime.utils import clip_grad_norm_

    if settings.zero_stage or settings.dtype != "float32":
        return

    def clip() -> None:
        norm = clip_grad_norm_(parameters=engine.module.parameters(), max_norm=settings.max_grad_norm)
        engine._global_grad_norm = float(norm)
        check_finite(engine._global_grad_norm, "the gradient norm")

    engine.clip_fp32_gradients = clip


def step(engine: Any) -> float:
    """Update the weights; returns the global norm of the gradients before clipping.

    Raises TrainingError where it is not a number: the weights are as they were.
    """
    engine.step()
    norm = float(engine.get_global_grad_norm())
    check_finite(norm if norm >= 0 else math.nan, "the gradient norm")  # DeepSpeed marks an invalid one by -1
    return norm


def check_finite(value: float, what: str) -> None:
    """Raises TrainingError naming what is not a number."""
    if not math.isfinite(value):
        raise TrainingError(f"{what} is {value}; lower lr or use float32")


def set_learning_rate(engine: Any, rate: float) -> None:
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def cutpoints(engine: Any) -> list[float] | None:
    """Of a coral head, as they are now; under ZeRO-3 every rank must call it."""
    import deepspeed

    module = engine.module.cutpoints
    if module is None:
        return None
    parameters = [parameter for parameter in module.parameters() if hasattr(parameter, "ds_id")]
    with deepspeed.zero.GatheredParameters(parameters, enabled=bool(parameters)):
        values: list[float] = ordered(module.first.detach(), module.gaps.detach()).tolist()
    return values


def full_state(engine: Any, keep: bool, trained_only: bool = False) -> dict[str, torch.Tensor]:
    """Weights of the whole model, on the CPU of the ranks that `keep` them; under ZeRO-3 every rank must call it.

    `trained_only` leaves out frozen weights and buffers. Raises TrainingError, on every rank, for weights that are not
    numbers.
    """
    import deepspeed

    state: dict[str, torch.Tensor] = {}
    for name, parameter in engine.module.named_parameters():
        if trained_only and not parameter.requires_grad:
            continue
        gathered = [parameter] if hasattr(parameter, "ds_id") else []
        with deepspeed.zero.GatheredParameters(gathered, enabled=bool(gathered)):
            if keep:
                state[name] = parameter.detach().to("cpu", copy=True)
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    count = torch.tensor([len(bad)], device=engine.device)
    dist.all_reduce(count)
    if int(count):
        raise TrainingError(f"weights are not numbers ({bad[0] if bad else 'on another worker'}); lower lr")
    if keep and not trained_only:
        state |= {name: buffer.detach().cpu() for name, buffer in engine.module.named_buffers()}
    return state
