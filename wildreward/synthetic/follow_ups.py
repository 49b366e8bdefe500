"""What the user writes next: a level drawn from the grade of the reply, worded in the manner of one user.

The wording pools hold what people write, with and without an obvious cue; they know nothing of any judge.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from wildreward.synthetic import material
from wildreward.synthetic.questions import Question, again, deeper, draw

LEVEL_WEIGHTS: Mapping[int, tuple[int, int, int, int, int]] = {
    1: (50, 20, 27, 2, 1),
    2: (12, 53, 30, 4, 1),
    3: (3, 13, 60, 20, 4),
    4: (1, 4, 37, 42, 16),
    5: (0, 2, 29, 22, 47),
}
"""Grade of the reply -> weights of levels 1..5: people are often silent about quality, and sometimes unfair."""


@dataclass(frozen=True)
class Manner:
    """How one user writes, the same through a conversation."""

    lower: float
    typos: float
    bare: float
    """Probability of leaving out the final mark."""

    @classmethod
    def draw(cls, rng: Random) -> "Manner":
        return cls(rng.choice([0.0, 0.3, 1.0]), rng.choice([0.0, 0.0, 0.15, 0.5]), rng.choice([0.1, 0.6]))


@dataclass(frozen=True)
class FollowUp:
    text: str
    level: int
    about: str | None
    """The topic that the text names, if it names one."""
    question: Question | None
    """What it asks; None when it asks nothing new and nothing again."""


def level_of(rng: Random, grade: int) -> int:
    return rng.choices((1, 2, 3, 4, 5), LEVEL_WEIGHTS[grade])[0]


def word(rng: Random, level: int, question: Question, manner: Manner) -> FollowUp:
    """A follow-up of this level to a reply to `question`."""
    pools = material.follow_ups(question.lang)
    phrase = rng.choice(pools[level])
    tail = rng.choice(pools["tail"][level])
    if tail and "{ask}" not in phrase and "{more}" not in phrase and "{next}" not in phrase:
        phrase += ("，" if question.lang == "zh" else rng.choice([" ", ", ", " - "])) + tail
    asked = _asked(rng, phrase, level, question)
    prompt = asked.prompt if asked else ""
    text = phrase.format(
        topic=question.topic, key=question.key.rstrip("."), ask=again(rng, question), more=prompt, next=prompt
    )
    about = question.topic if question.topic in text else asked.topic if asked and asked is not question else None
    return FollowUp(mannered(rng, text, manner), level, about, asked)


def _asked(rng: Random, phrase: str, level: int, question: Question) -> Question | None:
    if "{more}" in phrase:
        return deeper(rng, question)
    if "{next}" in phrase:
        return draw(rng, question.lang)
    return None if level == 5 else question


def mannered(rng: Random, text: str, manner: Manner) -> str:
    """The text as this user types it. Code is left alone."""
    if "```" in text:
        return text
    if rng.random() < manner.lower:
        text = text.lower()
    if rng.random() < manner.typos:
        text = _typo(rng, text)
    if rng.random() < manner.bare:
        text = text.rstrip(".。")
    return text


def _typo(rng: Random, text: str) -> str:
    """One slip of the fingers: a lost apostrophe, two letters swapped, one lost, or a common short form."""
    for long, short in (("please", "pls"), ("you are", "ur"), ("because", "cuz")):
        if long in text and rng.random() < 0.5:
            return text.replace(long, short, 1)
    if "'" in text and rng.random() < 0.5:
        return re.sub(r"(?<=\w)'(?=\w)", "", text)
    spots = [match.start() + 1 for match in re.finditer(r"[a-z]{5,}", text)]
    if not spots:
        return text
    spot = rng.choice(spots)
    middle = text[spot + 1] + text[spot] if rng.random() < 0.6 else text[spot]
    return text[:spot] + middle + text[spot + 2 :]
