"""Rows and files that cannot be read as they are: a run must survive each of them and account for it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wildreward.storage import write_bytes


def rows(base: dict[str, Any]) -> list[dict[str, Any]]:
    """Damaged copies of one good row, still fitting WildChat's Arrow schema."""
    user, assistant = base["conversation"][:2]
    damage: dict[str, Any] = {
        "empty_conversation": [],
        "no_conversation": None,
        "null_content": [user | {"content": None}, assistant | {"content": None}],
        "null_message": [None, None],
        "unknown_roles": [user | {"role": "narrator"}, assistant | {"role": "tool-result"}],
        "null_roles": [user | {"role": None}, assistant | {"role": None}],
        "blank_content": [user | {"content": "   "}, assistant | {"content": ""}],
        "only_assistant": [assistant, assistant],
    }
    return [
        base | {"conversation_hash": f"malformed-{name}", "conversation": conversation, "turn": 1}
        for name, conversation in damage.items()
    ]


BAD_LINES = (
    '{"messages": [{"role": "user", "content": "how do I cut of',  # cut off in the middle
    "not json at all",
    '["a list", "and no object"]',
    '{"messages": "a text instead of a list"}',
    '{"messages": [{"role": "user", "content": 42}, {"role": "assistant", "content": {"no": "text"}}]}',
    '{"messages": []}',
    '{"question": "another", "answer": "layout"}',
)


def chat_log(good: Sequence[dict[str, Any]]) -> bytes:
    """A chat log as JSONL in which every good line is followed by a bad one, and one line is no UTF-8."""
    lines: list[bytes] = []
    for index in range(max(len(good), len(BAD_LINES))):
        if index < len(good):
            lines.append(json.dumps(good[index], ensure_ascii=False).encode())
        if index < len(BAD_LINES):
            lines.append(BAD_LINES[index].encode())
    return b"\n".join([*lines, b'{"messages": "\xff\xfe"}', b""])


def write_files(directory: Path, good_parquet: bytes, good_chats: Sequence[dict[str, Any]]) -> None:
    """A parquet cut in half, a file that is no parquet at all, an empty one, and the chat log."""
    write_bytes(f"{directory}/damaged-truncated.parquet", good_parquet[: len(good_parquet) // 2])
    write_bytes(f"{directory}/damaged-text.parquet", b"this is not a parquet file\n")
    write_bytes(f"{directory}/damaged-empty.parquet", b"")
    write_bytes(f"{directory}/chat-log.jsonl", chat_log(good_chats))
