"""From the learner's engine to what the rollout engines load, and back into it as a reference. All is collective."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from rl.weights import AdapterOf, Bucket, Put, Weights, array, bucketed, travelled
from wildreward import zero
from wildreward.policy_lora import adapter_off, scale
from wildreward.settings.dpo import DpoSettings


def published(engine: Any, settings: DpoSettings, put: Put) -> Weights | None:
    """On rank 0 the weights, of a policy with adapters only these; one bucket is gathered after the other.

    Raises TrainingError, on every rank, for weights that are not numbers.
    """
    first, dtype = dist.get_rank() == 0, getattr(torch, settings.dtype)
    trained = {n: p for n, p in engine.module.named_parameters() if p.requires_grad or not settings.lora_rank}
    sizes = [(name, _numel(parameter) * dtype.itemsize) for name, parameter in trained.items()]
    buckets, bad = [], []
    for names in bucketed(sizes, settings.sync_bucket_bytes):
        with zero.gathered([trained[name] for name in names]):
            if first:
                bad += [name for name in names if not bool(torch.isfinite(trained[name]).all())]
                bucket: Bucket = {name: array(trained[name].detach(), dtype) for name in names}
                buckets.append(put(bucket))
    zero.refuse_unless_numbers(engine, bad)
    if not first:
        return None
    return Weights(tuple(trained), buckets, AdapterOf(settings.policy, scale(settings)) if settings.lora_rank else None)


@contextmanager
def as_reference(engine: Any, reference: Weights | None) -> Iterator[None]:
    """Inside the block the policy is its base (None), or has the adapters of `reference` in place of its own."""
    if reference is None:
        with adapter_off(engine.module):
            yield
        return
    parameters = dict(engine.module.named_parameters())
    own = {}
    for name, tensor in travelled(reference):
        with torch.no_grad(), zero.gathered([parameters[name]], writer=0):
            own[name] = parameters[name].detach().clone()
            parameters[name].copy_(tensor)
    try:
        yield
    finally:
        for name, tensor in own.items():
            with torch.no_grad(), zero.gathered([parameters[name]], writer=0):
                parameters[name].copy_(tensor)


def _numel(parameter: torch.nn.Parameter) -> int:
    """Of the whole weight; a shard of ZeRO-3 is smaller."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
