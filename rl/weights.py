"""A policy's weights on their way from the learner: buckets of numpy arrays, moved by reference, mapped without a copy.

learner side:  Weights of buckets, each `ray.put` as it is made: one bucket's memory beside the model
engine side:   load(model, weights)      # fetches one bucket after the other

Of a LoRA policy only the adapters travel; the engine reads the base again from the policy's own files, where the system
keeps it cached, and merges: so rounding never adds up, and what writes is what will be published.
"""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl.base_weights import BaseWeights
from wildreward.policy_lora import by_weight, merged

Bucket = Mapping[str, tuple[str, Any]]
"""Parameter name -> (torch dtype name, array)."""

Put = Callable[[Bucket], Any]
"""What becomes of a finished bucket: `ray.put`, or the bucket itself in one process."""


@dataclass(frozen=True)
class AdapterOf:
    """Adapters' weights mean this base policy, with their product multiplied by `scale`."""

    policy: str
    scale: float


@dataclass(frozen=True)
class Weights:
    """What an engine loads. Tied parameters are there once. `buckets` are Bucket or references to one."""

    names: tuple[str, ...]
    buckets: Sequence[Any]
    adapter: AdapterOf | None = None


def pack(model: torch.nn.Module, dtype: torch.dtype) -> Weights:
    """All weights of a model in this process, as one bucket."""
    bucket = {name: array(parameter.detach(), dtype) for name, parameter in model.named_parameters()}
    return Weights(tuple(bucket), [bucket])


def bucketed(sizes: Iterable[tuple[str, int]], limit: int) -> Iterator[list[str]]:
    """Names in groups of at most `limit` bytes in all, or of one that is larger.

    >>> list(bucketed([("a", 3), ("b", 3), ("c", 9), ("d", 1)], limit=6))
    [['a', 'b'], ['c'], ['d']]
    """
    group: list[str] = []
    total = 0
    for name, size in sizes:
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield group


def tensors(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of every weight of the policy; with adapters the base's own, and the merged ones.

    They may be read-only views of Ray's object store: copy before changing them.
    """
    if weights.adapter is None:
        yield from travelled(weights)
        return
    adapters, base = by_weight(travelled(weights)), BaseWeights(weights.adapter.policy)
    for name in base.names():
        yield name, _with_adapter(base.read(name), adapters.get(name), weights.adapter.scale)


def changed(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """As `tensors`, but of a policy with adapters only the weights that these change."""
    if weights.adapter is None:
        yield from travelled(weights)
        return
    base = BaseWeights(weights.adapter.policy)
    for name, sides in by_weight(travelled(weights)).items():
        yield name, _with_adapter(base.read(name), sides, weights.adapter.scale)


def load(model: torch.nn.Module, weights: Weights) -> None:
    """Copy into the model. Raises KeyError when the names are not exactly the model's (of adapters: not among them)."""
    parameters = dict(model.named_parameters())
    if weights.adapter is None and parameters.keys() != set(weights.names):
        differing = sorted(parameters.keys() ^ set(weights.names))[:4]
        raise KeyError(f"weights of another model: names differ in {differing}")
    with torch.no_grad():
        for name, tensor in changed(weights):
            parameters[name].copy_(tensor)


def write(weights: Weights, directory: Path) -> None:
    """A file a bucket, and what they are; `read` gives the same weights back."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    for number, bucket in enumerate(map(_here, weights.buckets)):
        save_file({name: _tensor(*value) for name, value in bucket.items()}, directory / _file(number))
    described = {"buckets": len(weights.buckets), "adapter": weights.adapter and asdict(weights.adapter)}
    (directory / "weights.json").write_text(json.dumps(described), encoding="utf-8")


def read(directory: Path, put: Put) -> Weights:
    """What `write` wrote, a bucket in memory at a time."""
    from safetensors.torch import load_file

    described = json.loads((directory / "weights.json").read_text(encoding="utf-8"))
    names: list[str] = []
    buckets = []
    for number in range(described["buckets"]):
        bucket = {name: array(tensor, tensor.dtype) for name, tensor in load_file(directory / _file(number)).items()}
        names += bucket
        buckets.append(put(bucket))
    adapter = described["adapter"]
    return Weights(tuple(names), buckets, adapter and AdapterOf(**adapter))


def array(tensor: Tensor, dtype: torch.dtype) -> tuple[str, Any]:
    """numpy knows no bfloat16: such tensors travel as the 16-bit integers they are stored as."""
    tensor = tensor.to("cpu", dtype)
    name = str(dtype).removeprefix("torch.")
    return name, np.ascontiguousarray((tensor.view(torch.int16) if name == "bfloat16" else tensor).numpy())


def travelled(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of what is in the buckets."""
    for bucket in weights.buckets:
        for name, value in _here(bucket).items():
            yield name, _tensor(*value)


def _with_adapter(weight: Tensor, sides: Mapping[str, Tensor] | None, scale: float) -> Tensor:
    return weight if sides is None else merged(weight.float(), sides["A"], sides["B"], scale)


def _here(bucket: Any) -> Bucket:
    import ray

    found: Bucket = ray.get(bucket) if isinstance(bucket, ray.ObjectRef) else bucket
    return found


def _file(number: int) -> str:
    return f"bucket_{number:05d}.safetensors"


def _tensor(dtype: str, values: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of read-only arrays; these are only read
        return torch.from_numpy(values).view(getattr(torch, dtype))
