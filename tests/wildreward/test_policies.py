"""The small policy of our own: reproducible, decodes what it encodes, learns to write."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tests.rl.tiny import conversations
from wildreward.policies import CHAT_TEMPLATE, new_policy, warm_start


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    new_policy(directory, conversations(), seed=0, vocabulary=400, hidden=32, layers=2, heads=2, max_tokens=128)
    return directory


@pytest.mark.parametrize("text", ["  two  spaces\n\ttab", "你好，世界！", "naïve 😀 x²", "How is tea made?"])
def test_any_text_decodes_to_what_was_encoded(policy: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_chat_template_ends_where_the_assistant_begins(policy: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy)
    assert tokenizer.chat_template == CHAT_TEMPLATE
    text = tokenizer.apply_chat_template(conversations()[0][:1], tokenize=False, add_generation_prompt=True)
    assert text == "<|bos|><|user|>How is tea made?<|eos|><|assistant|>"


def test_the_same_seed_gives_the_same_files(policy: Path, tmp_path: Path) -> None:
    new_policy(tmp_path, conversations(), seed=0, vocabulary=400, hidden=32, layers=2, heads=2, max_tokens=128)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (policy / name).read_bytes()


def test_a_warm_start_lowers_the_loss_on_the_replies(policy: Path, tmp_path: Path) -> None:
    new_policy(tmp_path, conversations(), seed=0, vocabulary=400, hidden=32, layers=2, heads=2, max_tokens=128)
    losses: list[float] = []
    tail = warm_start(tmp_path, conversations(), steps=40, lr=2e-2, on_step=lambda _, loss: losses.append(loss))
    assert tail < losses[0] / 2
    before, after = (load_file(path / "model.safetensors") for path in (policy, tmp_path))
    assert any(not torch.equal(before[name], after[name]) for name in before)
