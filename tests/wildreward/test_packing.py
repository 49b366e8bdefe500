"""Packed rows have the logits and gradients of padded ones and of each row alone; what cannot be packed says why."""

import copy
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
    Qwen3NextConfig,
)

from wildreward.packing import ROW_BY_ROW, obstacle, pack, packed_logits, prepare
from wildreward.pretrained import pad
from wildreward.reward_model import OrdinalModel

SHAPE: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "num_labels": 1,
}
DECODERS: dict[str, Any] = {
    "llama": LlamaConfig(**SHAPE),
    "qwen": Qwen3Config(**SHAPE, head_dim=16),
    "mistral, rows longer than its window": MistralConfig(**SHAPE, sliding_window=6),
    "gemma, rows longer than its window": Gemma3TextConfig(
        **SHAPE, head_dim=16, sliding_window=6, layer_types=["sliding_attention", "sliding_attention", "full_attention"]
    ),
}
ROWS = [torch.randint(1, 100, (length,), generator=torch.Generator().manual_seed(length)).tolist() for length in
        (13, 4, 29, 1)]  # fmt: skip


def model_of(config: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(copy.deepcopy(config))


def gradients(model: Any, logits: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(logits.square().sum(), list(model.parameters())))


@pytest.mark.parametrize("name", DECODERS)
def test_packed_rows_equal_padded_rows_and_rows_alone_in_logits_and_gradients(name: str) -> None:
    """fp32: logits within 1e-6; gradients within 1e-5 of the largest of their tensor."""
    model = model_of(DECODERS[name])
    alone = torch.cat([model(torch.tensor([row])).logits for row in ROWS])
    padded = model(*pad(ROWS, 0)).logits
    expected = gradients(model, padded)
    assert obstacle(model.config) is None
    assert prepare(model, "cpu", torch.float32) == ROW_BY_ROW
    packed = packed_logits(model, *pack(ROWS))
    assert torch.allclose(packed, padded, atol=1e-6, rtol=0)
    assert torch.allclose(packed, alone, atol=1e-6, rtol=0)
    for found, wanted in zip(gradients(model, packed), expected, strict=True):
        assert (found - wanted).abs().max() <= 1e-5 * max(float(wanted.abs().max()), 1e-3)


def test_what_is_in_a_pack_does_not_reach_the_next_row() -> None:
    model = model_of(DECODERS["llama"])
    prepare(model, "cpu", torch.float32)
    other = packed_logits(model, *pack([[5] * 20, *ROWS]))
    assert torch.allclose(packed_logits(model, *pack(ROWS)), other[1:], atol=1e-6, rtol=0)


def test_a_model_with_lora_adapters_packs_alike() -> None:
    peft = pytest.importorskip("peft")
    adapters = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(model_of(DECODERS["llama"]), adapters)
    padded = model(*pad(ROWS, 0)).logits
    prepare(model, "cpu", torch.float32)
    assert torch.allclose(packed_logits(model, *pack(ROWS)), padded, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_bfloat16_packed_and_padded_differ_from_float32_by_rounding_only() -> None:
    """Either way within 3 percent of the largest logit."""
    model = model_of(DECODERS["llama"])
    exact = model(*pad(ROWS, 0)).logits
    model.to(torch.bfloat16)
    padded = model(*pad(ROWS, 0)).logits
    prepare(model, "cpu", torch.bfloat16)
    for found in (padded, packed_logits(model, *pack(ROWS))):
        assert (found - exact).abs().max() < 0.03 * exact.abs().max()


def test_gradient_checkpointing_changes_no_gradient_of_a_pack() -> None:
    model = OrdinalModel(model_of(DECODERS["llama"]), "coral", [-1.0, 0.0, 1.0]).train()
    backbone: Any = model.backbone
    prepare(backbone, "cpu", torch.float32)
    ids, bounds = pack(ROWS)
    plain = gradients(backbone, model(ids, bounds=bounds))
    backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for found, wanted in zip(gradients(backbone, model(ids, bounds=bounds)), plain, strict=True):
        assert torch.equal(found, wanted)


def test_a_checkpoint_does_not_remember_how_it_was_trained(tmp_path: Any) -> None:
    model = model_of(DECODERS["llama"])
    prepare(model, "cpu", torch.float32)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (BertConfig(), "bert is no decoder with a linear score head"),
        (Gemma2Config(), "soft-capped"),
        (Gemma3TextConfig(use_bidirectional_attention=True), "reads more than the text before a token"),
        (Qwen3NextConfig(), "layers of linear_attention"),
    ],
)
def test_a_model_that_cannot_be_packed_says_why(config: Any, reason: str) -> None:
    assert reason in str(obstacle(config))
