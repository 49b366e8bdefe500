"""Prompts for the policy, read from wherever conversations are: the history stays, the reply to be written goes.

    prompts, skipped = read_prompts(["runs/label/wildfb"], turn="last")

A row gives its messages in `messages` (chat logs, WildFB rows, judged feedback), `conversation` (WildChat) or `prompt`
(preference pairs: a message list, or plain text).
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wildreward.errors import UsageError
from wildreward.storage import exists, expand, join, open_file

Message = dict[str, str]
Turn = Literal["first", "last", "all"]

COLUMNS = ("messages", "conversation", "prompt")
ROLES = frozenset({"system", "user", "assistant"})
SUFFIXES = (".parquet", ".jsonl")


@dataclass(frozen=True)
class Prompt:
    """Messages ending with the user's. `group` is the same for all prompts of one conversation."""

    id: str
    group: str
    messages: tuple[Message, ...]


def read_prompts(inputs: Sequence[str], turn: Turn = "last") -> tuple[list[Prompt], Counter[str]]:
    """Distinct prompts in the order read, and how many rows or prompts were skipped by reason.

    Raises UsageError for a pattern that matches nothing, DataError naming a file that cannot be read.
    """
    found: dict[str, Prompt] = {}
    skipped: Counter[str] = Counter()
    for path in expand([_training_part(item) for item in inputs], SUFFIXES):
        for row in _rows(path):
            prompts = prompts_of_row(row, turn)
            if not prompts:
                skipped["unreadable"] += 1
            for prompt in prompts:
                skipped["duplicate"] += prompt.id in found
                found.setdefault(prompt.id, prompt)
    return list(found.values()), +skipped


def prompts_of_row(row: Mapping[str, Any], turn: Turn = "last") -> list[Prompt]:
    """The prompts in one row: its user messages that `turn` asks for, each with the history before it.

    >>> row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    >>> [list(prompt.messages) for prompt in prompts_of_row(row)]
    [[{'role': 'user', 'content': 'Hi'}]]
    >>> prompts_of_row({"messages": [{"role": "assistant", "content": "Hello"}]})
    []
    """
    messages = _messages(row)
    ends = [index for index, message in enumerate(messages) if message["role"] == "user"]
    chosen = {"first": ends[:1], "last": ends[-1:], "all": ends}[turn]
    group = _digest(messages[: ends[0] + 1]) if ends else ""
    return [Prompt(_digest(messages[: end + 1]), group, tuple(messages[: end + 1])) for end in chosen]


def split_held_out(prompts: Sequence[Prompt], count: int, seed: int) -> tuple[list[Prompt], list[Prompt]]:
    """(training, held out): whole conversations drawn by seed until `count` prompts are held out, cut to `count`."""
    groups = sorted({prompt.group for prompt in prompts})
    random.Random(f"held-out {seed}").shuffle(groups)
    sizes = Counter(prompt.group for prompt in prompts)
    taken: set[str] = set()
    total = 0
    for group in groups:
        if total >= count:
            break
        taken.add(group)
        total += sizes[group]
    held_out = [prompt for prompt in prompts if prompt.group in taken]
    return [prompt for prompt in prompts if prompt.group not in taken], held_out[:count]


def positions_of_step(total: int, per_step: int, seed: int, step: int) -> list[int]:
    """Which of `total` prompts step `step` (from 0) uses, epoch after shuffled epoch: a pure function.

    >>> sorted(positions_of_step(4, 2, 0, 0) + positions_of_step(4, 2, 0, 1))
    [0, 1, 2, 3]
    """
    positions: list[int] = []
    order: list[int] = []
    for index in range(step * per_step, (step + 1) * per_step):
        epoch, offset = divmod(index, total)
        if not order or offset == 0:
            order = list(range(total))
            random.Random(f"epoch {seed} {epoch}").shuffle(order)
        positions.append(order[offset])
    return positions


def _training_part(path: str) -> str:
    """Of a label run's output, or its wildfb directory, the training rows."""
    for inner in ("wildfb/train", "train"):
        if "*" not in path and exists(join(path, inner)):
            return join(path, inner)
    return path


def _rows(path: str) -> Iterator[Mapping[str, Any]]:
    with open_file(path) as handle:
        if path.endswith(".jsonl"):
            yield from (_json_row(line) for line in handle if line.strip())
        else:
            yield from _parquet_rows(path, handle)


def _json_row(line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _parquet_rows(path: str, handle: Any) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from wildreward.errors import DataError

    try:
        file = pq.ParquetFile(handle)
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        if not columns:
            raise UsageError(
                f"--input {path}: no column {', '.join(COLUMNS)}; it has {', '.join(file.schema_arrow.names)}"
            )
        for batch in file.iter_batches(columns=columns[:1]):
            yield from batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file: {error}") from None


def _messages(row: Mapping[str, Any]) -> list[Message]:
    """The row's messages, or nothing when any of them is not a message we know."""
    value = next((row[name] for name in COLUMNS if row.get(name)), None)
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not all(_is_message(item) for item in value):
        return []
    return [{"role": item["role"], "content": item["content"]} for item in value]


def _is_message(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("role") in ROLES
        and isinstance(item.get("content"), str)
        and bool(item["content"].strip())
    )


def _digest(messages: Sequence[Message]) -> str:
    return hashlib.sha256(json.dumps(messages, ensure_ascii=False).encode()).hexdigest()[:16]
