"""What a judge's answer says. An answer without a value of the alphabet has none: it is never taken for a class."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

_THINKING = re.compile(r"^.*</think>|<think>.*$", re.DOTALL | re.IGNORECASE)
_VALUE = re.compile(r"\[\[\s*(\d+)\s*\]\]")
_OPENING = re.compile(r"\[\[?\s*$")


def parse(answer: str | None, alphabet: Sequence[int]) -> int | None:
    """The value in double brackets, or None: no brackets, a value outside `alphabet`, or several that contradict.

    A value at the very start is the answer whatever the reason after it quotes. Thinking in <think> tags is no answer,
    and thinking that was cut off holds none.

    >>> parse("[[2]] points out a wrong date", (1, 2, 3, 4, 5)), parse("[[7]]", (1, 2, 3, 4, 5)), parse("2", (1, 2))
    (2, None, None)
    >>> parse("It is [[1]] or [[2]]", (1, 2)), parse("<think>[[1]]?</think> [[2]]", (1, 2)), parse("<think>[[1]]", (1,))
    (None, 2, None)
    """
    said = _THINKING.sub("", answer or "").strip(" \n*")
    first = _VALUE.match(said)
    values = {int(first[1])} if first else {int(digits) for digits in _VALUE.findall(said)}
    return values.pop() if len(values) == 1 and values <= set(alphabet) else None


Token = tuple[str, Mapping[str, float]]
"""A generated token and its alternatives (text -> log-probability), itself among them."""

_CONTEXT_CHARS = 16
"""What is kept of the text before a token: enough to see an opening bracket or the end of thinking."""


def distribution(tokens: Iterable[Token], value: int, alphabet: Sequence[int]) -> tuple[float, ...] | None:
    """Probabilities over the alphabet at the token that carries the parsed `value`; None when no token does.

    Sums to 1 over the alphabet; a value that is not among the alternatives gets 0. Tokens may join the digit with its
    brackets or not. What stands in thinking is not the answer.

    >>> [round(p, 2) for p in distribution([("[[", {}), ("2", {"2": -0.105, "1": -2.303}), ("]]", {})], 2, (1, 2))]
    [0.1, 0.9]
    """
    before, found = "", None
    for token, alternatives in tokens:
        opened = _OPENING.search(before) or token.lstrip().startswith("[[")
        if found is None and opened and token.strip(" \n[]") == str(value):
            found = alternatives
        before = (before + token)[-max(_CONTEXT_CHARS, len(token)) :]
        if "</think>" in before:
            before, found = "", None
    return None if found is None else _normalised(found, alphabet)


def _normalised(alternatives: Mapping[str, float], alphabet: Sequence[int]) -> tuple[float, ...] | None:
    mass = dict.fromkeys(map(str, alphabet), 0.0)
    for token, logprob in alternatives.items():
        digits = token.strip(" \n[]")
        if digits in mass:
            mass[digits] += math.exp(min(logprob, 0.0))
    total = sum(mass.values())
    return tuple(share / total for share in mass.values()) if total > 0 else None
