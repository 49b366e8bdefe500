"""Training by oneDNN's kernels computes what PyTorch's does."""

import copy

import pytest
import torch
from torch import nn

from wildreward.onednn_linear import FEW, OnednnLinear, use_onednn


def made(bias: bool = True) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(24, 40, bias=bias), nn.Tanh(), nn.Linear(40, 10, bias=bias))
    fast = copy.deepcopy(plain)
    use_onednn(fast)
    assert isinstance(fast[0], OnednnLinear)
    return plain, fast


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(FEW, 24), (3, 50, 24), (2, 5, 24)], ids=str)
def test_outputs_and_gradients_are_pytorchs(shape: tuple[int, ...], bias: bool) -> None:
    inputs = torch.randn(shape)
    found = []
    for model in made(bias):
        x = inputs.clone().requires_grad_()
        output = model(x)
        output.square().sum().backward()
        found.append([output.detach(), x.grad, *(parameter.grad for parameter in model.parameters())])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-4)


def test_frozen_weights_get_no_gradient_and_pass_one_on() -> None:
    _, fast = made()
    fast.requires_grad_(False)
    x = torch.randn(FEW, 24, requires_grad=True)
    fast(x).sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in fast.parameters())


def test_names_and_weights_stay_and_other_precisions_are_left_alone() -> None:
    plain, fast = made()
    fast.load_state_dict(plain.state_dict())
    half = nn.Sequential(nn.Linear(4, 4)).to(torch.bfloat16)
    use_onednn(half)
    assert type(half[0]) is nn.Linear
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(torch.randn(FEW, 24)).dtype == torch.bfloat16
