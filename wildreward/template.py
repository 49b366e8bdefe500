"""How a conversation becomes the reward model's input: the template and the truncation rule, saved beside the weights.

Two kinds. `plain`: role prefixes and, for BERT-like tokenizers, [CLS] context [SEP] response [SEP]. `chat`: the
tokenizer's own chat template. Where a conversation is too long, the oldest history goes first, then the head of the
prompt, and only then the end of the response: what is scored is never truncated away, and every cut is reported.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from wildreward import storage
from wildreward.errors import CheckpointError, DataError

FILE_NAME = "wildreward_template.json"

Message = Mapping[str, str]


@dataclass(frozen=True)
class Encoded:
    """Token ids of one conversation, and how many tokens of its context and of its response were cut."""

    input_ids: list[int]
    prompt_tokens_cut: int = 0
    response_tokens_cut: int = 0


@dataclass(frozen=True)
class InputTemplate:
    """Template and limit of a checkpoint. `chat_template` overrides the tokenizer's own (kind `chat`)."""

    max_tokens: int
    kind: Literal["plain", "chat"] = "plain"
    prefixes: Mapping[str, str] = field(
        default_factory=lambda: {"system": "system:", "user": "user:", "assistant": "assistant:"}
    )
    chat_template: str | None = None

    def encode(self, messages: Sequence[Message], tokenizer: Any) -> Encoded:
        """Token ids, at most `max_tokens`. Raises DataError for a conversation that cannot be scored."""
        check_messages(messages)
        return (
            _encode_chat(self, messages, tokenizer) if self.kind == "chat" else _encode_plain(self, messages, tokenizer)
        )

    def render(self, messages: Sequence[Message], tokenizer: Any) -> str:
        """The text of kind `chat`. Raises DataError where the chat template cannot render these messages.

        Jinja turns what a template says with raise_exception into a TemplateError; mixing types gives a TypeError.
        """
        from jinja2 import TemplateError

        try:
            return str(tokenizer.apply_chat_template(messages, tokenize=False, chat_template=self.chat_template))
        except (TemplateError, TypeError) as error:
            raise DataError(f"messages: the chat template refuses them: {error}") from None

    def encode_text(self, text: str, tokenizer: Any) -> Encoded:
        """Token ids of a text that already went through a template; its head is cut where it is too long."""
        ids = tokenizer(text, add_special_tokens=self.kind == "plain", verbose=False)["input_ids"]
        excess = max(0, len(ids) - self.max_tokens)
        if not excess:
            return Encoded(ids)
        kept_head = int(self.kind == "plain" and tokenizer.cls_token_id is not None)
        return Encoded(ids[:kept_head] + ids[kept_head + excess :], prompt_tokens_cut=excess)

    def save(self, directory: Path) -> None:
        (directory / FILE_NAME).write_text(
            json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(cls, path: str | Path) -> "InputTemplate":
        """From a template file (a path or URL), or a checkpoint directory that has one. Raises CheckpointError."""
        path = str(Path(path) / FILE_NAME if Path(path).is_dir() else path)
        try:
            values = json.loads(storage.read_text(path))
        except DataError as error:
            raise CheckpointError(f"{path}: no readable template: {error}") from None
        except ValueError as error:
            raise CheckpointError(f"{path}: no readable template: {error}") from None
        known = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or not isinstance(values.get("max_tokens"), int) or set(values) - known:
            raise CheckpointError(f"{path}: not a template; expected an object with max_tokens and {sorted(known)}")
        if values.get("kind", "plain") not in ("plain", "chat"):
            raise CheckpointError(f"{path}: kind: found {values['kind']!r}; allowed are plain and chat")
        return cls(**values)


def check_messages(messages: Sequence[Message]) -> None:
    """Raises DataError unless these are messages of known roles and text content that end with a non-empty reply."""
    if not messages:
        raise DataError("messages: the conversation is empty")
    for index, message in enumerate(messages):
        if message.get("role") not in ("system", "user", "assistant"):
            raise DataError(
                f"messages[{index}].role: found {message.get('role')!r}; allowed are system, user, assistant"
            )
        if not isinstance(message.get("content"), str):
            raise DataError(f"messages[{index}].content: found {type(message.get('content')).__name__}; text is needed")
    if messages[-1]["role"] != "assistant":
        raise DataError(
            f"messages[{len(messages) - 1}].role: the last message must be the assistant's, the one to score"
        )
    if not messages[-1]["content"].strip():
        raise DataError(f"messages[{len(messages) - 1}].content: the reply to score is empty")


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _encode_plain(template: InputTemplate, messages: Sequence[Message], tokenizer: Any) -> Encoded:
    head = [token for token in (tokenizer.cls_token_id, tokenizer.bos_token_id) if token is not None][:1]
    end = [token for token in (tokenizer.sep_token_id, tokenizer.eos_token_id) if token is not None][:1]
    prefixes = [_ids(tokenizer, template.prefixes[message["role"]]) for message in messages[:-1]]
    contents = [_ids(tokenizer, message["content"]) for message in messages]
    kept = _fit(contents, [*map(len, prefixes), 0], template.max_tokens - len(head) - 2 * len(end))
    context = [
        token
        for prefix, content in zip(prefixes, kept[:-1], strict=True)
        if content is not None
        for token in prefix + content
    ]
    return _encoded([*head, *context, *end, *(kept[-1] or []), *end], contents, kept)


def _encode_chat(template: InputTemplate, messages: Sequence[Message], tokenizer: Any) -> Encoded:
    """Cutting a text changes how it tokenises, so the result is measured, and fitted again by what it is over."""
    contents = [_ids(tokenizer, message["content"]) for message in messages]
    budget = template.max_tokens
    while budget > 0:
        kept = _fit(contents, [0] * len(contents), budget)
        shortened = [
            dict(message) if len(ids) == len(whole) else {**message, "content": tokenizer.decode(ids)}
            for message, whole, ids in zip(messages, contents, kept, strict=True)
            if ids is not None
        ]
        if len(shortened) < len(messages):
            shortened = _from_user(shortened)
        input_ids = _ids(tokenizer, template.render(shortened, tokenizer))
        if len(input_ids) <= template.max_tokens:
            return _encoded(input_ids, contents, kept)
        budget -= len(input_ids) - template.max_tokens
    raise DataError(f"max_tokens: found {template.max_tokens}; the chat template alone is longer")


def _from_user(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Chat templates want the user to begin: a cut history never starts with an assistant's message."""
    start = next((i for i, message in enumerate(messages[:-1]) if message["role"] != "assistant"), len(messages) - 1)
    return messages[start:]


def _fit(contents: list[list[int]], overheads: list[int], budget: int) -> list[list[int] | None]:
    """What is kept of each message: the reply first (its head), then from the newest message back (their tails).

    A message without room for its overhead and one token is None; once one had to be cut, all older ones are.

    >>> _fit([[1, 2, 3], [4, 5, 6], [7, 8]], [1, 1, 0], budget=5)
    [None, [5, 6], [7, 8]]
    """
    kept: list[list[int] | None] = [None] * len(contents)
    kept[-1] = contents[-1][:budget]
    room = budget - len(contents[-1])
    for i in range(len(contents) - 2, -1, -1):
        room -= overheads[i]
        if room <= 0:
            break
        kept[i] = contents[i][max(0, len(contents[i]) - room) :]
        room -= len(contents[i])
    return kept


def _encoded(input_ids: list[int], contents: list[list[int]], kept: list[list[int] | None]) -> Encoded:
    cut = [len(whole) - len(part or []) for whole, part in zip(contents, kept, strict=True)]
    return Encoded(input_ids, sum(cut[:-1]), cut[-1])
