"""Rules named on the command line, as a user's module would have them."""

from collections.abc import Sequence
from typing import Any


def length(conversations: Sequence[Sequence[Any]]) -> list[float]:
    return [len(messages[-1]["content"]) / 100 for messages in conversations]


def raises_on_e(conversations: Sequence[Sequence[Any]]) -> list[float]:
    if any("e" in messages[-1]["content"] for messages in conversations):
        raise KeyError("no e, please")
    return [1.0] * len(conversations)


def not_a_number(conversations: Sequence[Sequence[Any]]) -> list[float]:
    return [float("nan")] * len(conversations)
