"""A backbone of 1M random weights and WildFB rows whose class can be read off their words."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from wildreward.schema import WILDFB, table

WORDS = {1: "wrong bad nonsense", 2: "mistake partial off", 3: "fine okay interesting", 4: "great perfect thanks"}
LEVELS = {1: 1, 2: 2, 3: 4, 4: 5}
"""Of the classes above, by the paper's map."""

NEUTRAL = ["the", "house", "river", "tree", "code", "python", "number", "list"]


def wildfb_rows(count: int, seed: int = 0, labels: Sequence[int] = (1, 2, 3, 4)) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        label = labels[i % len(labels)]
        words = rng.choices(WORDS[label].split() + NEUTRAL, k=rng.randint(4, 40))
        rows.append(
            {
                "id": f"r{i}/0",
                "conversation_hash": f"c{i // 2}",
                "turn": 0,
                "messages": [
                    {"role": "user", "content": f"tell me about the {rng.choice(NEUTRAL)}"},
                    {"role": "assistant", "content": " ".join(words)},
                ],
                "label": label,
                "level": LEVELS[label],
                "level_probs": [0.8 if level == LEVELS[label] else 0.05 for level in range(1, 6)] if i % 3 else None,
            }
        )
    return rows


@pytest.fixture(scope="session")
def write_wildfb() -> Callable[..., Path]:
    def write(directory: Path, rows: Sequence[dict[str, Any]], split: str = "train", group: int = 16) -> Path:
        folder = directory / "wildfb" / split
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(rows, WILDFB), folder / "part-0.parquet", row_group_size=group)
        return directory

    return write


@pytest.fixture(scope="session")
def wildfb(tmp_path_factory: pytest.TempPathFactory, write_wildfb: Callable[..., Path]) -> Path:
    """A label run's directory: 80 training rows of four classes, and a test split that training must not read."""
    directory = write_wildfb(tmp_path_factory.mktemp("label"), wildfb_rows(80))
    (directory / "wildfb" / "test").mkdir()
    (directory / "wildfb" / "test" / "part-0.parquet").write_bytes(b"not parquet: reading it would fail")
    return directory


SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}


def save_random(directory: Path, model: Any, config: Any, **shape: Any) -> Path:
    """Random weights with the embedded model's tokenizer."""
    import torch
    from transformers import AutoTokenizer

    from wildreward.minilm import minilm_directory

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(minilm_directory())
    model(config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SHAPE, **shape)).save_pretrained(
        directory
    )
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def make_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Directory of a tiny BERT."""

    def make(dropout: float = 0.0) -> Path:
        from transformers import BertConfig, BertForSequenceClassification

        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "initializer_range": 0.2}
        return save_random(tmp_path_factory.mktemp("backbone"), BertForSequenceClassification, BertConfig, **rates)

    return make


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny Llama, whose rows can be packed."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    return save_random(tmp_path_factory.mktemp("llama"), LlamaForSequenceClassification, LlamaConfig)


@pytest.fixture(scope="session")
def tiny_settings(wildfb: Path, make_backbone: Callable[..., Path]) -> dict[str, Any]:
    """Settings under which the tiny backbone learns the words in seconds."""
    return {
        "input": (str(wildfb),),
        "backbone": str(make_backbone()),
        "max_tokens": 64,
        "batch_rows": 16,
        "micro_batch_tokens": 256,
        "lr": 3e-3,
        "max_steps": 30,
        "validation_frac": 0.2,
        "threads": 1,
        "log_every_steps": 1,
        "device": "cpu",
    }
