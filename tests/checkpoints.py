"""Real, tiny reward models for tests: a random BERT of two layers behind MiniLM's tokenizer; made in a second."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from wildreward.calibration import Calibration, with_calibration
from wildreward.minilm import minilm_directory
from wildreward.ordinal import HeadKind
from wildreward.reward_model import new_model, save_checkpoint
from wildreward.template import InputTemplate

MAX_TOKENS = 128


def tiny_checkpoint(
    directory: str | Path, head: HeadKind = "coral", cutpoints: Sequence[float] | None = None, seed: int = 0
) -> Path:
    """A checkpoint directory with a random head: 2 layers, 32 wide, 128 tokens. The same weights for the same seed."""
    directory = Path(directory)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as backbone:
        tiny_backbone(backbone)
        model, tokenizer = new_model(backbone, head, cutpoints=cutpoints)
    save_checkpoint(directory, model, tokenizer, InputTemplate(max_tokens=MAX_TOKENS))
    return directory


def tiny_backbone(directory: str | Path) -> Path:
    """The same without an ordinal head: what `train --backbone DIR` starts from."""
    directory = Path(directory)
    tokenizer = AutoTokenizer.from_pretrained(minilm_directory())
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=MAX_TOKENS,
        initializer_range=0.5,  # scores that differ visibly between texts
    )
    BertForSequenceClassification(config).eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def calibrate_checkpoint(directory: Path, temperature: float, cutpoints: Sequence[float]) -> Path:
    """Put a calibration into a checkpoint's config.json, in place."""
    found = Calibration("temperature+cutpoints", temperature, tuple(cutpoints), None, {"rows": 90})
    config = directory / "config.json"
    config.write_text(with_calibration(config.read_text(), found))
    return directory


def decoder_checkpoint(directory: Path, kind: str, head: HeadKind = "independent") -> Path:
    """A random Llama or Qwen2 with head size 32 (what vLLM's CPU kernels want) behind MiniLM's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(minilm_directory())
    config_of, model_of = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[kind]
    torch.manual_seed(0)
    config = config_of(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=128,
        max_position_embeddings=256,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
    )
    model_of(config).save_pretrained(directory / "backbone")
    tokenizer.save_pretrained(directory / "backbone")
    torch.manual_seed(0)
    model, tokenizer = new_model(str(directory / "backbone"), head)
    save_checkpoint(directory / "reward", model, tokenizer, InputTemplate(max_tokens=256))
    return directory / "reward"
