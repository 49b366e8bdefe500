"""Prompts for the policy, read from wherever conversations are: the history stays, the reply to be written goes.

    for prompt in read_prompts(["runs/label/wildfb", "s3://bucket/chats/"], skipped := Counter(), turn="last"): ...

A row gives its messages in `messages` (chat logs, WildFB rows, judged feedback), `conversation` (WildChat) or `prompt`
(preference pairs: a message list, or plain text), and is read as `label` reads it.
"""

import hashlib
import json
import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from wildreward import records
from wildreward.conversations import Unreadable, read_conversation
from wildreward.errors import DataError, UsageError
from wildreward.storage import exists, expand, join, open_file

Message = dict[str, str]
Turn = Literal["first", "last", "all"]

COLUMNS = ("messages", "conversation", "prompt")


@dataclass(frozen=True)
class Prompt:
    """Messages ending with the user's. `group` is the same for all prompts of one conversation."""

    id: str
    group: str
    messages: tuple[Message, ...]


def read_prompts(
    inputs: Sequence[str], skipped: Counter[str], turn: Turn = "last", flag: str = "--input"
) -> Iterator[Prompt]:
    """Prompts in the order of the files, one row in memory at a time; rows without one are counted by reason.

    Raises UsageError for a pattern that matches nothing, DataError naming a file that cannot be read.
    """
    for path in expand([_training_part(item) for item in inputs], records.SUFFIXES, flag):
        for row in _rows(path, flag):
            messages = "unreadable_row" if row is None else _messages(row)
            if isinstance(messages, str):
                skipped[messages] += 1
                continue
            prompts = _cut(messages, turn)
            skipped["no_user_message"] += not prompts
            yield from prompts


def prompts_of_row(row: Mapping[str, Any], turn: Turn = "last") -> list[Prompt]:
    """The prompts in one row: its user messages that `turn` asks for, each with the history before it.

    >>> row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    >>> [list(prompt.messages) for prompt in prompts_of_row(row)]
    [[{'role': 'user', 'content': 'Hi'}]]
    >>> prompts_of_row({"messages": [{"role": "assistant", "content": "Hello"}]})
    []
    """
    messages = _messages(row)
    return [] if isinstance(messages, str) else _cut(messages, turn)


def _cut(messages: Sequence[Message], turn: Turn) -> list[Prompt]:
    ends = [index for index, message in enumerate(messages) if message["role"] == "user"]
    chosen = {"first": ends[:1], "last": ends[-1:], "all": ends}[turn]
    group = _digest(messages[: ends[0] + 1]) if ends else ""
    return [Prompt(_digest(messages[: end + 1]), group, tuple(messages[: end + 1])) for end in chosen]


def split_held_out(groups: Sequence[Any], count: int, seed: int) -> tuple["array[int]", "array[int]"]:
    """(training, held out) as positions in `groups`, which says of each prompt what conversation it is of.

    Whole conversations are drawn by seed until `count` prompts are held out, cut to `count`.
    """
    sizes = Counter(groups)
    names = sorted(sizes)
    random.Random(f"held-out {seed}").shuffle(names)
    taken: set[Any] = set()
    total = 0
    for group in names:
        if total >= count:
            break
        taken.add(group)
        total += sizes[group]
    held_out = array("Q", (place for place, group in enumerate(groups) if group in taken))
    return array("Q", (place for place, group in enumerate(groups) if group not in taken)), held_out[:count]


def positions_of_step(total: int, per_step: int, seed: int, step: int) -> list[int]:
    """Which of `total` prompts step `step` (from 0) uses, epoch after shuffled epoch: a pure function.

    >>> sorted(positions_of_step(4, 2, 0, 0) + positions_of_step(4, 2, 0, 1))
    [0, 1, 2, 3]
    """
    places = (divmod(index, total) for index in range(step * per_step, (step + 1) * per_step))
    return [_order_of_epoch(total, seed, epoch)[offset] for epoch, offset in places]


@lru_cache(maxsize=2)
def _order_of_epoch(total: int, seed: int, epoch: int) -> "array[int]":
    order = array("Q", range(total))
    random.Random(f"epoch {seed} {epoch}").shuffle(order)
    return order


def _training_part(path: str) -> str:
    """Of a label run's output, or its wildfb directory, the training rows."""
    for inner in ("wildfb/train", "train"):
        if "*" not in path and exists(join(path, inner)):
            return join(path, inner)
    return path


def _rows(path: str, flag: str) -> Iterator[Mapping[str, Any] | None]:
    if path.endswith(".parquet"):
        yield from _parquet_rows(path, flag)
    else:
        yield from (record.values for record in records.read_records(path))


def _parquet_rows(path: str, flag: str) -> Iterator[Mapping[str, Any]]:
    """Only the column that is needed: chat logs have wide ones besides."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_file(path) as handle:
        try:
            file = pq.ParquetFile(handle)
            columns = [name for name in COLUMNS if name in file.schema_arrow.names]
            if not columns:
                names = ", ".join(file.schema_arrow.names)
                raise UsageError(f"{flag} {path}: no column {', '.join(COLUMNS)}; it has {names}")
            for batch in file.iter_batches(256, columns=columns[:1]):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable parquet file: {error}") from None


def _messages(row: Mapping[str, Any]) -> list[Message] | str:
    """The row's messages in alternation, or the reason why there are none."""
    value = next((row[name] for name in COLUMNS if row.get(name)), None)
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    # An id and a language are given, or both would be made from the texts; neither is used here.
    found = read_conversation({"id": "-", "language": "-", "messages": value})
    return found.reason if isinstance(found, Unreadable) else found.messages


def _digest(messages: Sequence[Message]) -> str:
    return hashlib.sha256(json.dumps(messages, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:16]
