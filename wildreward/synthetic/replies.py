"""Replies of five grades to a question, at a length that was chosen before the grade.

1 useless   evades, talks of something else, repeats the question, or brushes the user off
2 wrong     states a wrong answer, or ignores what was asked for
3 thin      the answer, or a detail of it, in hedges and commonplaces
4 good      the answer with specific details
5 complete  the same, direct, with every detail there is room for, often as a list, and the point to keep
"""

from collections.abc import Callable, Sequence
from random import Random

from wildreward.synthetic import material
from wildreward.synthetic.questions import Question, draw

GRADES = (1, 2, 3, 4, 5)
LOWERED = ("The ", "A ", "An ", "It ", "In ", "On ", "To ", "At ", "Use ", "This ", "There ", "We ", "So ", "For ")
"""First words of a fact that may follow a hedge in lower case."""
LIST_CHARS = 8
"""What the marks of a list take, about."""
MIN_ROOM_FRAC, MAX_ROOM_FRAC = 0.5, 1.05


def room(rng: Random, question: Question) -> int:
    """Characters a reply shall have: it depends on the question, and never on the grade."""
    full = len(" ".join(question.good))
    return round(full * rng.uniform(MIN_ROOM_FRAC, MAX_ROOM_FRAC))


def write(rng: Random, question: Question, grade: int, chars: int) -> str:
    """A reply of about `chars` characters."""
    return WRITERS[grade](rng, question, chars)


def _useless(rng: Random, question: Question, chars: int) -> str:
    kind = rng.choices(["evasive", "vague", "dismissive", "repeat", "elsewhere"], [3, 3, 2, 2, 2])[0]
    if kind == "elsewhere":
        other = draw(rng, question.lang)
        while other.topic == question.topic:
            other = draw(rng, question.lang)
        return _join(question, _fill([other.good[0]], _said(rng, question, "vague"), chars))
    first, *rest = _said(rng, question, kind)
    return _join(question, _fill([first], [*rest, *_said(rng, question, "evasive", "vague")], chars))


def _wrong(rng: Random, question: Question, chars: int) -> str:
    first = [question.wrong]
    if question.family == "emails" and rng.random() < 0.4:
        first.append(_said(rng, question, "ignores")[0])
    return _join(question, _fill(first, _said(rng, question, "hollow", "vague"), chars))


def _thin(rng: Random, question: Question, chars: int) -> str:
    opener = rng.choice(material.replies(question.lang)["thin_opener"])
    fact = question.good[0] if rng.random() < 0.6 else rng.choice(question.good[1:])
    if question.lang == "zh":
        fact = opener + fact
    elif fact.startswith(LOWERED):
        fact = f"{opener} {fact[0].lower()}{fact[1:]}"
    return _join(question, _fill([fact], _said(rng, question, "thin", "vague"), chars))


def _good(rng: Random, question: Question, chars: int) -> str:
    first, *details = question.good
    return _join(question, _fill([first], [*details, *_said(rng, question, "closer")], chars))


def _complete(rng: Random, question: Question, chars: int) -> str:
    opener = rng.choice(material.replies(question.lang)["opener"])
    first, *details = question.good
    closer = _said(rng, question, "closer")[0] if rng.random() < 0.6 else ""
    listed = rng.random() < 0.6
    rest = chars - len(opener) - len(closer) - LIST_CHARS * listed
    parts = _fill([first], details, max(rest, len(first)))
    if listed and len(parts) > 2:
        mark = rng.choice(["- ", "* ", "{}. "])
        parts = [parts[0], *(f"\n{mark.format(number)}{part}" for number, part in enumerate(parts[1:], 1))]
        closer = closer and f"\n{closer}"
    return _join(question, [opener, *parts, closer])


WRITERS: dict[int, Callable[[Random, Question, int], str]] = {
    1: _useless,
    2: _wrong,
    3: _thin,
    4: _good,
    5: _complete,
}


def _said(rng: Random, question: Question, *kinds: str) -> list[str]:
    """The sentences of some kinds in random order, their slots filled."""
    lines = [line for kind in kinds for line in material.replies(question.lang)[kind]]
    slots = {"topic": question.topic, "key": question.key.rstrip("."), "prompt": question.prompt}
    return [line.format(**slots) for line in rng.sample(lines, len(lines))]


def _fill(parts: Sequence[str], more: Sequence[str], chars: int) -> list[str]:
    """`parts` and as many of `more` as bring the length nearest to `chars`.

    >>> _fill(["aaaa"], ["bb", "cccc", "dd"], 8)
    ['aaaa', 'bb']
    """
    chosen = list(parts)
    length = len(" ".join(chosen))
    for sentence in more:
        longer = length + 1 + len(sentence)
        if abs(longer - chars) > abs(length - chars):
            break
        chosen.append(sentence)
        length = longer
    return chosen


def _join(question: Question, parts: Sequence[str]) -> str:
    """Sentences into a text: Chinese has no space between them, code and lists stand on lines of their own."""
    text = ""
    for part in filter(None, parts):
        own_line = part.startswith(("```", "\n")) or text.endswith("```")
        space = "\n" if own_line and not part.startswith("\n") else "" if question.lang == "zh" else " "
        text += part if not text or part.startswith("\n") else space + part
    return text[:1].upper() + text[1:]
