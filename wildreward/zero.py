"""DeepSpeed ZeRO around any model: its engine, the step, what is not a number, full weights from any stage.

Stages shard more and more over the ranks of the process group: 0 nothing, 1 the optimiser, 2 gradients too, 3 weights
too. What `train` and `dpo` make of it is in their own modules. Collective: every rank must call it, in the same order.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn

from wildreward.errors import TrainingError

CHECKPOINT_TAG = "ds"


class ZeroSettings(Protocol):
    """The settings an engine is made from, under the same names in every stage."""

    @property
    def dtype(self) -> str: ...
    @property
    def zero_stage(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def betas(self) -> tuple[float, float]: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def max_grad_norm(self) -> float: ...


def skip_compiled_ops() -> None:
    """Keep DeepSpeed from compiling its shared-memory communication op, which takes over a minute on a fresh machine.

    `init_distributed` builds it wherever a C++ compiler is found, although only tensor-parallel inference calls it;
    DeepSpeed keeps one dictionary of compatible ops and reads it here. Its optimisers compile too: see `torch_adam`.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def config(settings: ZeroSettings) -> dict[str, Any]:
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


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether weight decay is for it: not for biases and norms. A shard of ZeRO-3 is flat itself."""
    return len(getattr(parameter, "ds_shape", parameter.shape)) > 1


def join_process_group() -> None:
    """Let DeepSpeed use the process group of torch that is there already."""
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel("ERROR")
    skip_compiled_ops()
    deepspeed.init_distributed(dist_init_required=False)


def initialise(model: nn.Module, groups: Sequence[dict[str, Any]], settings: ZeroSettings) -> Any:
    """The DeepSpeed engine, in the process group that is there. `scale` of a group multiplies the learning rate."""
    import deepspeed

    join_process_group()
    engine, *_ = deepspeed.initialize(
        model=model, model_parameters=list(groups), config=config(settings), dist_init_required=False
    )
    _keep_gradient_norm(engine, settings)
    return engine


def _keep_gradient_norm(engine: Any, settings: ZeroSettings) -> None:
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


def total(engine: Any, value: float) -> float:
    """The sum of every rank's value, on every rank, in double precision. Collective."""
    summed = torch.tensor([value], dtype=torch.float64, device=engine.device)
    dist.all_reduce(summed)
    return float(summed)


def set_learning_rate(engine: Any, rate: float) -> None:
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group["scale"]


@contextmanager
def gathered(parameters: Sequence[nn.Parameter], writer: int | None = None) -> Iterator[None]:
    """Whole parameters inside the block, whatever the stage; what rank `writer` changes there stays. Collective."""
    import deepspeed

    shards = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    with deepspeed.zero.GatheredParameters(shards, modifier_rank=writer, enabled=bool(shards)):
        yield


def full_state(engine: Any, keep: bool, trained_only: bool = False) -> dict[str, torch.Tensor]:
    """Weights of the whole model, on the CPU of the ranks that `keep` them. Collective.

    `trained_only` leaves out frozen weights and buffers. Raises TrainingError, on every rank, for weights that are not
    numbers.
    """
    state: dict[str, torch.Tensor] = {}
    for name, parameter in engine.module.named_parameters():
        if trained_only and not parameter.requires_grad:
            continue
        with gathered([parameter]):
            if keep:
                state[name] = parameter.detach().to("cpu", copy=True)
    refuse_unless_numbers(engine, [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())])
    if keep and not trained_only:
        state |= {name: buffer.detach().cpu() for name, buffer in engine.module.named_buffers()}
    return state


def refuse_unless_numbers(engine: Any, bad: Sequence[str]) -> None:
    """Raises TrainingError on every rank where one found `bad` weights, which are not numbers. Collective."""
    if total(engine, len(bad)):
        raise TrainingError(f"weights are not numbers ({bad[0] if bad else 'on another worker'}); lower lr")


@contextmanager
def shards_only(settings: ZeroSettings) -> Iterator[None]:
    """Inside the block transformers builds models as empty shards (ZeRO-3): no rank ever holds the whole."""
    from transformers.integrations import HfDeepSpeedConfig

    join_process_group()
    alive = HfDeepSpeedConfig(config(settings))  # transformers builds in shards for as long as this object lives
    yield
    del alive


@torch.no_grad()
def hand_out(full: nn.Module | None, shell: nn.Module) -> None:
    """Copy weights and buffers of rank 0's `full` model into the shards of every rank. Collective."""
    from deepspeed.accelerator import get_accelerator

    source = {} if full is None else {**dict(full.named_parameters()), **dict(full.named_buffers())}
    for name, parameter in shell.named_parameters():
        with gathered([parameter], writer=0):
            if full is not None:
                parameter.copy_(source[name])
    for name, buffer in shell.named_buffers():
        value = source.get(name, buffer).to(get_accelerator().current_device_name(), copy=True)
        dist.broadcast(value, src=0)
        buffer.copy_(value)
