"""What a judge's answer says. An answer without a value of the alphabet has none: it is never taken for a class."""

import math
import re
from collections.abc import Mapping, Sequence

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


def distribution(tokens: Sequence[Token], value: int, alphabet: Sequence[int]) -> tuple[float, ...] | None:
    """Probabilities over the alphabet at the token that carries the parsed `value`; None when no token does.

    Sums to 1 over the alphabet; a value that is not among the alternatives gets 0.

    >>> [round(p, 2) for p in distribution([("[[", {}), ("2", {"2": -0.105, "1": -2.303}), ("]]", {})], 2, (1, 2))]
    [0.1, 0.9]
    """
    before = ""
    for token, alternatives in tokens:
        digits = token.strip(" \n[]")
        if digits == str(value) and (_OPENING.search(before) or token.lstrip().startswith("[[")):
            return _normalised(alternatives, alphabet)
        before += token
    return None


def _normalised(alternatives: Mapping[str, float], alphabet: Sequence[int]) -> tuple[float, ...] | None:
    mass = dict.fromkeys(map(str, alphabet), 0.0)
    for token, logprob in alternatives.items():
        digits = token.strip(" \n[]")
        if digits in mass:
            mass[digits] += math.exp(logprob)
    total = sum(mass.values())
    return tuple(share / total for share in mass.values()) if total > 0 else None
