"""Linear layers that train by oneDNN's CPU kernels: float32 as exact as before, about 1.7 times as fast on AMD's CPUs.

    use_onednn(model)           # in place; weights, names, saving and wrapping by peft or DeepSpeed stay as they are

PyTorch's float32 Linear calls MKL, which leaves AVX-512 unused on CPUs of other makers (see packed_linear.py, which is
for weights that no longer change). N tokens, I inputs, O outputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from wildreward.packed_linear import can_pack

FEW = 64
"""Tokens; below, laying the weight out for the kernel costs more than the product."""

_linear = torch.ops.mkldnn._linear_pointwise


def use_onednn(model: nn.Module) -> None:
    """Every nn.Linear below `model` computes so from now on, where it is in float32 on a CPU."""
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.dtype == torch.float32 and can_pack(module.weight):
            module.__class__ = OnednnLinear


class OnednnLinear(nn.Linear):
    """An nn.Linear in all but its kernels."""

    def forward(self, x: Tensor) -> Tensor:
        few = x.numel() < FEW * self.in_features
        if few or x.dtype != torch.float32 or self.weight.dtype != x.dtype or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        product: Tensor = _Product.apply(x, self.weight, self.bias)
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        product: Tensor = _linear(x, weight_OI, bias_O, "none", [], "")
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight_OI = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        grad_NO, x_NI = grad.flatten(0, -2), x.flatten(0, -2)
        return (
            _times(grad, weight_OI.t()) if for_x else None,
            _times(grad_NO.t(), x_NI.t()) if for_weight else None,
            grad_NO.sum(0) if for_bias else None,
        )


def _times(a: Tensor, b: Tensor) -> Tensor:
    """a b^T."""
    product: Tensor = _linear(a, b, None, "none", [], "")
    return product
