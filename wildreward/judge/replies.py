"""What a judge's answer says. An answer without a value of the alphabet has none: it is never taken for a class."""

import math
import re
from collections.abc import Mapping, Sequence

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_BRACKETS = re.compile(r"\[\[\s*(\d+)\s*\]\]")


def parse(answer: str | None, alphabet: Sequence[int]) -> int | None:
    """The value in double brackets, or None: no brackets, a value outside `alphabet`, or two values that contradict.

    Thinking in <think> tags is not the answer. One value given several times is one value.

    >>> parse("[[2]] points out a wrong date", (1, 2, 3, 4, 5)), parse("[[7]]", (1, 2, 3, 4, 5)), parse("2", (1, 2))
    (2, None, None)
    >>> parse("[[1]] or [[2]]", (1, 2, 3, 4, 5)), parse("<think>[[1]]? no</think> [[3]]", (1, 2, 3, 4, 5))
    (None, 3)
    """
    if not answer:
        return None
    values = {int(digits) for digits in _BRACKETS.findall(_THINKING.sub("", answer))}
    return values.pop() if len(values) == 1 and values <= set(alphabet) else None


def level_distribution(
    tokens: Sequence[tuple[str, Mapping[str, float]]], alphabet: Sequence[int]
) -> tuple[float, ...] | None:
    """Probabilities over the alphabet, from the log-probabilities of the token that carries the value; None without it.

    `tokens`: generated tokens in order, each with its alternatives (text -> log-probability, itself included). The
    token is the first after the opening brackets that reads as a value of the alphabet, alone or with brackets around
    it. Sums to 1 over the alphabet; a value not among the alternatives gets 0.

    >>> level_distribution([("[[", {}), ("2", {"2": -0.105, "1": -2.303}), ("]]", {})], (1, 2))
    (0.1000..., 0.8999...)
    """
    before = ""
    for token, alternatives in tokens:
        if "[" in before + token and _value(token, alphabet) is not None:
            return _normalised(alternatives, alphabet)
        before += token
    return None


def _value(token: str, alphabet: Sequence[int]) -> int | None:
    bare = token.strip(" \n[]")
    return int(bare) if bare.isdecimal() and int(bare) in alphabet else None


def _normalised(alternatives: Mapping[str, float], alphabet: Sequence[int]) -> tuple[float, ...] | None:
    mass = dict.fromkeys(alphabet, 0.0)
    for token, logprob in alternatives.items():
        value = _value(token, alphabet)
        if value is not None:
            mass[value] += math.exp(logprob)
    total = sum(mass.values())
    return tuple(mass[value] / total for value in alphabet) if total > 0 else None
