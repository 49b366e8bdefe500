"""Ordinary conversations: prompts, replies of changing grades, and the follow-ups these call forth."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from wildreward.scale import NEGATIVE_LEVELS, NEUTRAL, POSITIVE_LEVELS
from wildreward.synthetic import material
from wildreward.synthetic.follow_ups import Manner, level_of, mannered, word
from wildreward.synthetic.questions import Question, draw
from wildreward.synthetic.replies import GRADES, room, write

Message = dict[str, str | None]

GRADE_WEIGHTS = (20, 23, 15, 22, 20)
SINGLE_TURN_FRAC = 0.15
CHINESE_FRAC = 0.25
TURNS, TURN_WEIGHTS = (1, 2, 3, 4, 5, 6), (10, 20, 25, 20, 15, 10)
HINDSIGHT_WINDOW_TURNS = 2


@dataclass
class Turn:
    """The truth of one turn: a prompt, its reply, and the next user message."""

    turn: int
    level: int
    grade: int | None = None
    about: str | None = None
    mined: int | None = None
    """The level after the refinements, where one of them changes it."""
    refusal: int | None = None
    drop: str | None = None
    """The quality filter that must drop the turn's row."""

    @property
    def refined(self) -> int:
        return self.level if self.mined is None else self.mined


@dataclass
class Conversation:
    """Messages and, kept apart from them, what is true of their turns."""

    case: str
    lang: str
    messages: list[Message] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    language: str | None = None
    """The name of another language than English and Chinese."""

    def say(self, user: str, assistant: str) -> None:
        self.messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]

    def judge(self, turn: Turn) -> None:
        self.turns.append(turn)


def language(rng: Random) -> str:
    return "zh" if rng.random() < CHINESE_FRAC else "en"


def ordinary(rng: Random) -> Conversation:
    """A conversation of one to seven turns; the last has no follow-up."""
    lang, manner = language(rng), Manner.draw(rng)
    question = draw(rng, lang)
    single = rng.random() < SINGLE_TURN_FRAC
    talk = Conversation("single_turn" if single else "ordinary", lang)
    prompt = mannered(rng, question.prompt, manner)
    for turn in range(0 if single else rng.choices(TURNS, TURN_WEIGHTS)[0]):
        grade = rng.choices(GRADES, GRADE_WEIGHTS)[0]
        talk.say(prompt, reply(rng, question, grade))
        follow_up = word(rng, level_of(rng, grade), question, manner)
        talk.judge(Turn(turn, follow_up.level, grade, follow_up.about))
        prompt = follow_up.text
        if follow_up.question is None:
            talk.say(prompt, rng.choice(material.follow_ups(lang)["closing"]))
            break
        question = follow_up.question
    else:
        talk.say(prompt, reply(rng, question, rng.choice(GRADES)))
    mine(talk.turns)
    return talk


def reply(rng: Random, question: Question, grade: int) -> str:
    return write(rng, question, grade, room(rng, question))


def mine(turns: Sequence[Turn]) -> None:
    """Hindsight by what the follow-ups are about, as somebody would do it who knows: the nearest opinion within the
    window on the same topic decides, and only a positive one is taken over."""
    for index, turn in enumerate(turns):
        if turn.level != NEUTRAL or turn.about is None or turn.drop:
            continue
        window = turns[index + 1 : index + 1 + HINDSIGHT_WINDOW_TURNS]
        opinions = [t for t in window if t.about == turn.about and t.level in POSITIVE_LEVELS | NEGATIVE_LEVELS]
        if opinions and opinions[0].level in POSITIVE_LEVELS:
            turn.mined = opinions[0].level
