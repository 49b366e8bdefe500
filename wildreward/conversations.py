"""Conversations from logs: what can be read of a row, and which turns of it can be judged.

A turn is a user message, the assistant's reply to it, and the user's next message. Real logs break the order of roles,
lose contents and carry other things between messages. The rule, so that nothing is glued together that was apart:

- A message is readable when its role is user, assistant or system and its content is text that is not blank.
- System messages, tool calls and tool results are no side of the exchange: messages around them stay neighbours.
  Any other message that cannot be read may have been a prompt, a reply or a follow-up: its neighbours do not touch.
- A turn is user, assistant, user, each the neighbour of the next.
- `messages` alternates, after at most one system message at the start, as chat templates demand: of two replies in a
  row the later is kept, a user message that got no readable reply is left out (unless it is the last), and so is a
  reply without a prompt. What was left out is in `skipped`, by its place in the row. One thing goes before
  alternation: a follow-up stays, even if another user message comes right after it.

The rule never invents a neighbour: after two replies in a row it is not known which one the user answered, and neither
is judged.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wildreward import languages

Message = dict[str, str]

ID_COLUMNS = ("conversation_hash", "conversation_id", "id")
USER_COLUMNS = ("hashed_ip", "user", "user_id")
MESSAGE_COLUMNS = ("conversation", "messages")

ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
TOOL_ROLES = frozenset({"tool", "function"})


@dataclass(frozen=True)
class SkippedMessage:
    """A message that is not in `messages`: its place in the row, and why.

    Reasons: not_a_message, unknown_role, null_content, empty_content, wrong_type, non_text_content, tool_message,
    late_system (not at the start), no_reply, repeated_reply, no_prompt.
    """

    index: int
    reason: str


@dataclass(frozen=True)
class Turn:
    """Places of a turn in `Conversation.messages`; `turn`: user messages before its prompt, readable or not."""

    turn: int
    prompt_index: int
    response_index: int
    follow_up_index: int


@dataclass(frozen=True)
class Conversation:
    """What could be read of a row. `turns` is empty where no reply has a follow-up."""

    conversation_hash: str
    model: str | None
    language: str
    user: str | None
    messages: list[Message]
    skipped: list[SkippedMessage]
    turns: list[Turn]


@dataclass(frozen=True)
class Unreadable:
    """A row from which no message can be read. Reasons: missing_column, wrong_type, empty_conversation, the reason all
    its messages share (such as null_content), or no_readable_message."""

    reason: str
    detail: str
    conversation_hash: str | None


@dataclass(frozen=True)
class _Item:
    """A message of the row after reading. `reason` is set where it cannot be used; `aside`: no side of the exchange."""

    index: int
    role: str = ""
    content: str = ""
    reason: str | None = None
    aside: bool = False


def conversation_id(row: Any) -> str | None:
    """The id a row brings along, if it has one: then this is its `conversation_hash`."""
    return _text(row, ID_COLUMNS) if isinstance(row, Mapping) else None


def read_conversation(row: Mapping[str, Any]) -> Conversation | Unreadable:
    """Read a WildChat row (`conversation`) or a chat log in OpenAI's format (`messages`). Never raises on bad data.

    >>> log = [{"role": r, "content": c} for r, c in [("user", "2+2?"), ("assistant", "5"), ("user", "No, 4.")]]
    >>> read_conversation({"id": "a", "messages": log}).turns
    [Turn(turn=0, prompt_index=0, response_index=1, follow_up_index=2)]
    >>> read_conversation({"id": "a", "messages": []}).reason
    'empty_conversation'
    """
    name = conversation_id(row)
    column = next((column for column in MESSAGE_COLUMNS if row.get(column) is not None), None)
    if column is None:
        return Unreadable("missing_column", f"none of {', '.join(MESSAGE_COLUMNS)} has a value", name)
    entries = _as_list(row[column])
    if entries is None:
        return Unreadable("wrong_type", f"{column} is {type(row[column]).__name__}, not a list of messages", name)
    items = [_read_message(index, entry) for index, entry in enumerate(entries)]
    if all(item.reason for item in items):
        return _unreadable(items, column, name)
    kept, skipped = _alternating(items)
    messages = [{"role": item.role, "content": item.content} for item in kept]
    return Conversation(
        conversation_hash=name or _content_hash(items),
        model=_text(row, ("model",)),
        language=_text(row, ("language",)) or languages.detect([i.content for i in items if i.role == "user"]),
        user=_text(row, USER_COLUMNS),
        messages=messages,
        skipped=skipped,
        turns=_turns(items, kept),
    )


def _unreadable(items: list[_Item], column: str, name: str | None) -> Unreadable:
    reasons = sorted({item.reason or "" for item in items})
    if not reasons:
        return Unreadable("empty_conversation", f"{column} is empty", name)
    reason = reasons[0] if len(reasons) == 1 else "no_readable_message"
    return Unreadable(reason, f"{len(items)} messages in {column}: {', '.join(reasons)}", name)


def _read_message(index: int, entry: Any) -> _Item:
    if not isinstance(entry, Mapping):
        return _Item(index, reason="not_a_message")
    role = entry.get("role")
    word = role.strip().lower() if isinstance(role, str) else ""
    if word in TOOL_ROLES or (word == "assistant" and entry.get("tool_calls") and not entry.get("content")):
        return _Item(index, reason="tool_message", aside=True)
    if word not in ROLES:
        return _Item(index, reason="unknown_role")
    text, reason = _read_content(entry.get("content"))
    aside = ROLES[word] == "system"
    if reason is None and aside and index > 0:
        reason = "late_system"
    return _Item(index, ROLES[word], text if reason is None else "", reason, aside)


def _read_content(content: Any) -> tuple[str, str | None]:
    """(text, None) or ("", reason). A list of parts must be text throughout: words cannot judge a picture."""
    if content is None:
        return "", "null_content"
    if not isinstance(content, str):
        parts = _as_list(content)
        if parts is None:
            return "", "wrong_type"
        texts = [_part_text(part) for part in parts]
        if None in texts:
            return "", "non_text_content"
        content = "\n".join(text for text in texts if text is not None)
    return (content, None) if content.strip() else ("", "empty_content")


def _part_text(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type") in {"text", "input_text", "output_text"}:
        text = part.get("text")
        return text if isinstance(text, str) else None
    return None


def _alternating(items: list[_Item]) -> tuple[list[_Item], list[SkippedMessage]]:
    """Messages in strict alternation, and what was left out with its reason, both in the order of the row."""
    kept: list[_Item] = []
    skipped = [SkippedMessage(item.index, item.reason) for item in items if item.reason]
    for item in items:
        if item.reason:
            continue
        last = kept[-1].role if kept else "system"
        if item.role == last == "user":
            if _is_follow_up(items, kept):
                kept.append(item)
                continue
            skipped.append(SkippedMessage(kept.pop().index, "no_reply"))
        elif item.role == last == "assistant":
            if not _touching(items, kept[-1], item):
                skipped.append(SkippedMessage(item.index, "no_prompt"))  # its prompt was lost: the earlier reply stays
                continue
            skipped.append(SkippedMessage(kept.pop().index, "repeated_reply"))
        elif item.role == "assistant" and (last == "system" or not _touching(items, kept[-1], item)):
            skipped.append(SkippedMessage(item.index, "no_prompt"))
            continue
        kept.append(item)
    return kept, sorted(skipped, key=lambda message: message.index)


def _is_follow_up(items: list[_Item], kept: list[_Item]) -> bool:
    """Whether the last of `kept` is the user's next message after a reply and its prompt."""
    roles = [item.role for item in kept[-3:]]
    return roles == ["user", "assistant", "user"] and all(
        _touching(items, *pair) for pair in itertools.pairwise(kept[-3:])
    )


def _touching(items: list[_Item], earlier: _Item, later: _Item) -> bool:
    return all(item.aside for item in items[earlier.index + 1 : later.index])


def _turns(items: list[_Item], kept: list[_Item]) -> list[Turn]:
    places = {item.index: place for place, item in enumerate(kept)}
    users = (item.index for item in items if item.role == "user")
    ordinals = {index: ordinal for ordinal, index in enumerate(users)}
    neighbours = [item for item in items if not item.aside]
    return [
        Turn(ordinals[prompt.index], places[prompt.index], places[response.index], places[follow_up.index])
        for prompt, response, follow_up in zip(neighbours, neighbours[1:], neighbours[2:], strict=False)
        if (prompt.role, response.role, follow_up.role) == ("user", "assistant", "user")
        and not (prompt.reason or response.reason or follow_up.reason)
    ]


def _as_list(value: Any) -> list[Any] | None:
    if isinstance(value, list | tuple):
        return list(value)
    if hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1:  # numpy, as pandas and Ray hand lists over
        return list(value)
    return None


def _text(row: Mapping[str, Any], columns: tuple[str, ...]) -> str | None:
    """The first of these columns with a text that is not blank; whole numbers are ids too."""
    for column in columns:
        value = row.get(column)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def _content_hash(items: list[_Item]) -> str:
    said = json.dumps([[item.role, item.content] for item in items if not item.reason], ensure_ascii=False)
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
