"""A step's work by the papers' formula, and peaks of known devices only."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, MixtralConfig

from wildreward.flops import multiplying, peak_flops, step_work

LLAMA = LlamaConfig(
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    pad_token_id=0,
)
LLAMA.num_labels = 1


def test_work_is_six_flops_a_weight_and_token_and_attention_by_the_square() -> None:
    """Attention and MLP weights by hand; counted by torch's own counter the matrix products agree."""
    from torch.utils.flop_counter import FlopCounterMode

    model = AutoModelForSequenceClassification.from_config(LLAMA)
    weights = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 48) + 5 * 32 + 32  # layers; norms; score
    work = step_work(multiplying(model, model.get_input_embeddings()), model.config)
    assert work is not None
    assert work.flops(np.array([10])) == 6 * weights * 10 + 12 * 2 * 32 * 10**2
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(1, 10, dtype=torch.long)).logits.sum().backward()
    products = counter.get_flop_counts()["Global"]
    matrices = sum(count for op, count in products.items() if "attention" not in str(op))
    assert matrices == pytest.approx(6 * (weights - 5 * 32) * 10, rel=0.02)


def test_frozen_weights_are_not_differentiated() -> None:
    model = AutoModelForSequenceClassification.from_config(LLAMA)
    embedding = model.get_input_embeddings()
    trained = step_work(multiplying(model, embedding), model.config)
    model.model.requires_grad_(False)
    frozen = step_work(multiplying(model, embedding), model.config)
    assert trained is not None
    assert frozen is not None
    assert frozen.flops_per_token == pytest.approx(trained.flops_per_token * 4 / 6, rel=0.01)


def test_a_mixture_of_experts_has_no_work_by_this_formula() -> None:
    assert step_work([(10, True)], MixtralConfig()) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GeForce RTX 4090", None),
        ("cpu", None),
    ],
)
def test_only_devices_of_the_table_have_a_peak(name: str, peak: float | None) -> None:
    assert peak_flops(name, "bfloat16") == peak
