"""Tokens of a judge's prompts: counted, or estimated and said so."""

from pathlib import Path

import pytest

from wildreward.errors import UsageError
from wildreward.judge.prompts import feedback_messages
from wildreward.judge.tokens import MESSAGE_TOKENS, Estimate, Tokenizer, load_counter
from wildreward.judge.types import TurnText

PROMPTS = [
    feedback_messages(TurnText([], "What is the capital of Australia?", reply, "No, please check that again."))
    for reply in ("Sydney.", "The capital is Canberra, a planned city between Sydney and Melbourne. " * 20)
]


def test_a_tokenizer_counts_each_prompt_as_if_it_were_alone_and_the_estimate_is_near() -> None:
    counter = load_counter("minilm", None)
    assert "minilm, which has no chat template" in counter.about
    counted = counter.count(PROMPTS)
    assert counted == [counter.count([prompt])[0] for prompt in PROMPTS]
    assert counter.count([[{"role": "user", "content": "hello world"}]]) == [2 + MESSAGE_TOKENS]
    assert counter.count([]) == []
    for real, guess in zip(counted, Estimate().count(PROMPTS), strict=True):
        assert abs(guess / real - 1) < 0.2


def test_a_chat_template_is_counted_as_the_engine_renders_it(tmp_path: Path) -> None:
    counter = Tokenizer("minilm")
    counter._tokenizer.chat_template = "{% for m in messages %}start {{ m['content'] }} end {% endfor %}answer"
    counter._tokenizer.save_pretrained(tmp_path)
    assert load_counter(None, str(tmp_path)).count([[{"role": "user", "content": "hello world"}]]) == [5]


def test_a_model_that_is_not_here_is_estimated_and_a_tokenizer_that_was_named_must_load(tmp_path: Path) -> None:
    for model in (None, "nobody/nothing", str(tmp_path)):
        assert load_counter(None, model).about.startswith("estimated from characters")
    with pytest.raises(UsageError, match="--judge-tokenizer"):
        load_counter(str(tmp_path), None)
