"""Linear layers with their weights laid out for oneDNN's CPU kernels, once, at loading.

PyTorch's fp32 Linear calls MKL, which leaves AVX-512 unused on CPUs of other makers: on one Zen 5 core 107 GFLOP/s
against oneDNN's 245. In bf16 PyTorch calls oneDNN itself; there the fixed layout gives 5 to 10 percent.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

_linear = torch.ops.mkldnn._linear_pointwise
USUAL_ROWS = 512
"""For how many rows the layout is chosen; every other number of rows gives the same values."""


def can_pack(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    in_bf16 = weight.dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32 or in_bf16


class PackedLinear(nn.Module):
    """Stands in for nn.Linear when weights no longer change, and does what follows in one pass."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), USUAL_ROWS)
        self.bias = None if bias is None else bias.detach().contiguous()

    @classmethod
    def stacked(cls, layers: Sequence[nn.Linear], scales: Sequence[float]) -> Self:
        """Several layers of one input as one, each with its output scaled."""
        pairs = list(zip(layers, scales, strict=True))
        weight = torch.cat([layer.weight * scale for layer, scale in pairs])
        return cls(weight, torch.cat([layer.bias * scale for layer, scale in pairs]))

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = _linear(x, self.weight, self.bias, "none", [], "")
        return product

    def gelu(self, x: Tensor) -> Tensor:
        activated: Tensor = _linear(x, self.weight, self.bias, "gelu", [], "none")
        return activated

    def add(self, x: Tensor, other: Tensor) -> Tensor:
        total: Tensor = _linear.binary(x, other, self.weight, self.bias, "add")
        return total


def pack_linears(model: nn.Module) -> None:
    """Replace every nn.Linear below `model` that can be packed, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and can_pack(child.weight):
                setattr(module, name, PackedLinear(child.weight, child.bias))
