"""Weights survive the journey bit by bit, in pieces, and adapters arrive merged."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rl.weights import AdapterOf, Weights, array, load, pack, read, tensors, write
from wildreward.errors import CheckpointError


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_arrive_as_they_left(dtype: torch.dtype) -> None:
    source, target = torch.nn.Linear(3, 2).to(dtype), torch.nn.Linear(3, 2).to(dtype)
    load(target, pack(source, dtype))
    assert torch.equal(source.weight, target.weight)
    assert torch.equal(source.bias, target.bias)


def test_read_only_arrays_are_copied_not_shared() -> None:
    source, target = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    weights = pack(source, torch.float32)
    for _, values in weights.buckets[0].values():
        values.flags.writeable = False  # as Ray hands them out
    load(target, weights)
    with torch.no_grad():
        target.weight.add_(1)
    assert torch.equal(source.weight + 1, target.weight)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(KeyError, match="bias"):
        load(torch.nn.Linear(3, 2), pack(torch.nn.Linear(3, 2, bias=False), torch.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_written_and_read_they_are_the_same(dtype: torch.dtype, tmp_path: Path) -> None:
    source = torch.nn.Linear(3, 2).to(dtype)
    buckets = [{name: array(tensor.detach(), dtype)} for name, tensor in source.named_parameters()]
    weights = Weights(("weight", "bias"), buckets, AdapterOf("base", 0.5))
    write(weights, tmp_path / "kept")
    found = read(tmp_path / "kept", put=lambda bucket: bucket)
    assert (found.names, len(found.buckets), found.adapter) == (("weight", "bias"), 2, AdapterOf("base", 0.5))
    plain = [dict(tensors(Weights(each.names, each.buckets))) for each in (weights, found)]
    assert all(torch.equal(plain[0][name], plain[1][name]) for name in ("weight", "bias"))


@pytest.fixture
def adapter(start: Path) -> Weights:
    """Of one projection of the starting policy."""
    torch.manual_seed(0)
    sides = {"A": torch.randn(2, 32), "B": torch.randn(32, 2)}
    names = {side: f"model.layers.1.self_attn.q_proj.lora_{side}.default.weight" for side in sides}
    bucket = {names[side]: array(tensor, torch.float32) for side, tensor in sides.items()}
    return Weights(tuple(bucket), [bucket], AdapterOf(str(start), 0.5))


def test_an_engine_merges_the_adapters_into_the_base_every_time_anew(start: Path, adapter: Weights) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(start)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    for _ in range(2):
        load(model, adapter)
    name = "model.layers.1.self_attn.q_proj.weight"
    a, b = (torch.from_numpy(values) for _, values in adapter.buckets[0].values())
    after = dict(model.named_parameters())
    torch.testing.assert_close(after.pop(name), before[name] + 0.5 * b @ a)
    assert all(torch.equal(tensor, before[other]) for other, tensor in after.items())
    everything = dict(tensors(adapter))
    assert torch.equal(everything.pop(name), model.get_parameter(name))
    assert all(torch.equal(tensor, before[other]) for other, tensor in everything.items())


def test_a_base_without_the_adapted_weight_is_named(start: Path, adapter: Weights) -> None:
    renamed = {name.replace("layers.1", "layers.7"): value for name, value in adapter.buckets[0].items()}
    with pytest.raises(CheckpointError, match=r"model\.layers\.7\.self_attn\.q_proj\.weight is not in its safetensors"):
        load(torch.nn.Linear(1, 1), Weights(tuple(renamed), [renamed], adapter.adapter))
