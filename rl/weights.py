"""A model's weights as a plain mapping of numpy arrays: moved by reference, mapped without a copy.

learner side:  ref = ray.put(pack(model, torch.bfloat16))
engine side:   load(model, weights)      # weights is what the reference stands for
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Weights = Mapping[str, tuple[str, Any]]
"""Parameter name -> (torch dtype name, array). Tied parameters are there once."""


def pack(model: torch.nn.Module, dtype: torch.dtype) -> Weights:
    return {name: _array(parameter.detach().to("cpu", dtype)) for name, parameter in model.named_parameters()}


def tensors(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) pairs. The arrays may be read-only views of Ray's object store: copy before changing them."""
    for name, (dtype, array) in weights.items():
        yield name, _tensor(array).view(getattr(torch, dtype))


def load(model: torch.nn.Module, weights: Weights) -> None:
    """Copy into the model. Raises KeyError when the names are not exactly the model's."""
    parameters = dict(model.named_parameters())
    if parameters.keys() != weights.keys():
        raise KeyError(f"weights of another model: names differ in {sorted(parameters.keys() ^ weights.keys())[:4]}")
    with torch.no_grad():
        for name, tensor in tensors(weights):
            parameters[name].copy_(tensor)


def _array(tensor: Tensor) -> tuple[str, Any]:
    """numpy knows no bfloat16: such tensors travel as the 16-bit integers they are stored as."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return dtype, np.ascontiguousarray((tensor.view(torch.int16) if dtype == "bfloat16" else tensor).numpy())


def _tensor(array: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of read-only arrays; these are only read
        return torch.from_numpy(array)
