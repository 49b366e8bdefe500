"""The input template: what is cut, in which order, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from wildreward.errors import CheckpointError, DataError
from wildreward.minilm import minilm_directory
from wildreward.template import InputTemplate

CHAT = "{% for m in messages %}{{ m.role }} : {{ m.content }} ; {% endfor %}"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(str(minilm_directory()))


def conversation(history: int, prompt: int, reply: int) -> list[dict[str, str]]:
    """Word counts per message; each word is one token, and tells where it came from."""
    texts = [
        ("user", "old", history),
        ("assistant", "past", history),
        ("user", "ask", prompt),
        ("assistant", "say", reply),
    ]
    return [{"role": role, "content": " ".join([word] * count)} for role, word, count in texts if count]


def words(ids: list[int], tokenizer: Any) -> dict[str, int]:
    text = tokenizer.decode(ids).split()
    return {word: text.count(word) for word in ("old", "past", "ask", "say")}


@pytest.mark.parametrize("kind", ["plain", "chat"])
@pytest.mark.parametrize(
    ("lengths", "whole"),
    [((5, 5, 5), {"ask": 5, "say": 5, "past": 5}), ((40, 5, 5), {"ask": 5, "say": 5}), ((5, 90, 5), {"say": 5})],
)
def test_the_oldest_is_cut_first_and_the_reply_stays(
    kind: Any, lengths: tuple[int, int, int], whole: dict[str, int], tokenizer: Any
) -> None:
    template = InputTemplate(48, kind, chat_template=CHAT if kind == "chat" else None)
    encoded = template.encode(conversation(*lengths), tokenizer)
    found = words(encoded.input_ids, tokenizer)
    assert len(encoded.input_ids) <= 48
    assert found | whole == found
    assert encoded.response_tokens_cut == 0
    kept = found["old"] + found["past"] + found["ask"]
    # A chat template must begin with the user, so a history that would begin with the assistant is left out whole.
    assert sum(lengths) + lengths[0] - lengths[2] - kept >= encoded.prompt_tokens_cut
    assert (encoded.prompt_tokens_cut > 0) == (kept < 2 * lengths[0] + lengths[1])


@pytest.mark.parametrize("kind", ["plain", "chat"])
def test_only_a_reply_longer_than_everything_is_cut_at_its_end_and_said(kind: Any, tokenizer: Any) -> None:
    template = InputTemplate(48, kind, chat_template=CHAT if kind == "chat" else None)
    messages = conversation(0, 5, 100)
    messages[-1]["content"] = "first " + messages[-1]["content"]
    encoded = template.encode(messages, tokenizer)
    found = words(encoded.input_ids, tokenizer)
    assert found["say"] + 1 == 101 - encoded.response_tokens_cut
    assert found["ask"] == 5 - encoded.prompt_tokens_cut
    assert "first" in tokenizer.decode(encoded.input_ids)


def test_a_plain_input_has_context_and_reply_in_two_segments(tokenizer: Any) -> None:
    encoded = InputTemplate(48).encode(conversation(0, 2, 1), tokenizer)
    assert tokenizer.decode(encoded.input_ids) == "[CLS] user : ask ask [SEP] say [SEP]"


def test_a_templated_text_loses_its_head_not_its_end(tokenizer: Any) -> None:
    encoded = InputTemplate(8).encode_text("one two three four five six seven eight nine", tokenizer)
    assert tokenizer.decode(encoded.input_ids) == "[CLS] four five six seven eight nine [SEP]"
    assert encoded.prompt_tokens_cut == 3


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        ([], "empty"),
        ([{"role": "user", "content": "x"}], r"messages\[0\]\.role"),
        ([{"role": "tool", "content": "x"}], r"messages\[0\]\.role: found 'tool'"),
        ([{"role": "assistant", "content": None}], r"messages\[0\]\.content: found NoneType"),
        ([{"role": "assistant", "content": " "}], r"messages\[0\]\.content: the reply"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_field(messages: Any, named: str, tokenizer: Any) -> None:
    with pytest.raises(DataError, match=named):
        InputTemplate(48).encode(messages, tokenizer)


def test_a_chat_template_longer_than_the_limit_is_an_error_not_an_endless_loop(tokenizer: Any) -> None:
    template = InputTemplate(4, "chat", chat_template="a b c d e f g {{ messages[-1].content }}")
    with pytest.raises(DataError, match="the chat template alone is longer"):
        template.encode(conversation(0, 1, 1), tokenizer)


def test_a_template_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    template = InputTemplate(77, "chat", chat_template=CHAT)
    template.save(tmp_path)
    assert InputTemplate.load(tmp_path) == template


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"max_tokens": 5, "sort": 1}', '{"max_tokens": 5, "kind": "odd"}'])
def test_a_broken_template_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "template.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"template\.json"):
        InputTemplate.load(path)
