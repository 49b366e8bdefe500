"""The judge that needs no model: cues in the user's next message, in English and Chinese. Deterministic, and modest.

It sees what people say outright ("that is wrong", "perfect, thanks") and takes everything else for neutral: irony,
other languages and complaints in unusual words are beyond it. How good it is, measured:
`python -m tests.benchmarks.lexicon_quality`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wildreward.judge import cues
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.languages import units
from wildreward.refusals import looks_like_refusal
from wildreward.scale import CORRECTION, ENGAGEMENT, LEVEL_NAMES, NEUTRAL, REJECTION, SATISFACTION

VERSION = "lexicon-1"
"""Stored with every label. Any change of a cue or a rule is a new version."""

OPENING_SENTENCES = 3
MAX_SENTENCE_CHARS = 240
"""What is read: the first sentences and the last, each so far. Feedback stands at the edges, material between them."""

LONG_UNITS = 60
"""From this length (words and Chinese characters) the last sentence is part of the material, not of the feedback."""

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_QUOTED = re.compile(r"[\"“][^\"“”\n]{25,}[\"”]|^>.*$", re.MULTILINE)
_TASK = re.compile(
    r"(\b(?:translate|rephrase|paraphrase|proofread|correct|fix|summari[sz]e|rewrite|improve|classify)\b[^:：\n]{0,60}[:：]"
    r"|(?:翻译|润色|改写|总结|修改|校对)[^:：\n]{0,20}[:：]).*",
    re.DOTALL | re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？~]*")
_TRACE = re.compile(
    r"Traceback \(most recent|^\s*\w*(?:Error|Exception)\b[:(]|\berror(?:\[\w+\])?:|\bundefined reference\b",
    re.MULTILINE,
)

_NEGATIVE = ("rejection", "correction", "wrong")
_POSITIVE = ("thanks", "praise", "works", "welcome")


@dataclass(frozen=True)
class Reading:
    """What the lexicon made of a message: the level and the signals that led to it."""

    level: int
    signals: tuple[str, ...]


class LexiconJudge:
    """`Judge` over the cue tables. Never fails, asks nobody."""

    name = "lexicon"
    prompt_version = VERSION

    async def feedback(self, turn: TurnText) -> Verdict:
        reading = read_feedback(turn)
        because = ", ".join(reading.signals) or "no cue"
        raw = f"[[{reading.level}]] {LEVEL_NAMES[reading.level]}: {because}"
        return Verdict(reading.level, None, raw, self.name, VERSION, 1, None, None, None, None)

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        verdict, because = read_refusal(turn)
        return RefusalVerdict(verdict, f"[[{verdict}]] {because}", 1, None, None, None, None)

    async def close(self) -> None:
        """Nothing is held."""


def read_feedback(turn: TurnText) -> Reading:
    """The level of one turn.

    >>> def level(text): return read_feedback(TurnText([], "Capital of Australia?", "Sydney.", text)).level
    >>> [level(text) for text in ("Useless.", "No, it is Canberra, not Sydney.", "And of Peru?", "太好了，谢谢！")]
    [1, 2, 3, 5]
    """
    text = _own_words(turn.follow_up)
    sentences = _edges(text)
    signals = _signals(sentences)
    if "```" in turn.response and _TRACE.search(turn.follow_up):
        signals.append("error after code")
    return _combine(signals, length=units(text), no_request="request" not in signals)


def _combine(signals: list[str], length: int, no_request: bool) -> Reading:
    """One level from all signals: a complaint outweighs politeness, and a particular fault makes it a correction."""
    found = tuple(dict.fromkeys(signals))
    negative = [name for name in found if name in _NEGATIVE or name == "error after code"]
    positive = [name for name in found if name in _POSITIVE]
    if negative:
        particular = [name for name in negative if name != "rejection"]
        only_wrong = particular == ["wrong"] and length <= 6
        rejected = "rejection" in negative and (not particular or only_wrong)
        return Reading(REJECTION if rejected or only_wrong else CORRECTION, found)
    if not positive:
        return Reading(NEUTRAL, found)
    if positive == ["welcome"] or not no_request or length > LONG_UNITS:
        return Reading(ENGAGEMENT, found)
    return Reading(SATISFACTION, found)


def _signals(sentences: Iterable[str]) -> list[str]:
    """All signals of the sentences, in order; a sentence's look-alikes take its own signals back."""
    found: list[str] = []
    for sentence in sentences:
        signals = [name for table in (cues.ENGLISH, cues.CHINESE) for name in _sentence_signals(sentence, table)]
        if "request" in found and set(signals) == {"thanks"}:
            continue  # thanks after a request are politeness
        found += signals
    return found


def _sentence_signals(sentence: str, table: Mapping[str, re.Pattern[str]]) -> list[str]:
    found = [name for name, pattern in table.items() if pattern.search(sentence)]
    if "pardon" in found:
        rest = table["pardon"].sub(" ", sentence).strip()
        found = [name for name in found if name not in _NEGATIVE or table[name].search(rest)]
    if "unpraise" in found:
        found = [name for name in found if name not in _POSITIVE]
    return [name for name in found if name not in {"pardon", "unpraise"}]


def read_refusal(turn: TurnText) -> tuple[int, str]:
    """(0 false refusal, 1 justified refusal or 2 not a refusal, why), by cues alone.

    >>> read_refusal(TurnText([], "Who won the cup in 1998?", "I'm sorry, but I can't help with that.", "Why not?"))[0]
    0
    """
    if not looks_like_refusal(turn.response):
        return 2, "no sign of a refusal"
    if cues.UNABLE.search(turn.response) and not cues.UNWILLING.search(turn.response):
        return 2, "something it cannot do, not something it will not"
    asked = turn.prompt
    if units(asked) < 8:  # "continue", "yes, do it": what was asked stands earlier
        earlier = [message["content"] for message in turn.history if message["role"] == "user"]
        asked = "\n".join([*earlier[-1:], asked])
    harm = cues.HARM.search(asked)
    return (1, "a harmful request") if harm else (0, "no sign of harm in the request")


def _own_words(text: str) -> str:
    """The message without code, long quotations and what follows "translate this:", which are material."""
    plain = _FENCE.sub("\n", text.replace("’", "'").replace("‘", "'"))
    return _TASK.sub(r"\1", _QUOTED.sub(" ", plain))


def _edges(text: str) -> list[str]:
    """The first sentences and, in a short message, the last one."""
    parts = [part.strip() for part in _SENTENCE.findall(text) if part.strip()]
    edges = parts[:OPENING_SENTENCES]
    if len(parts) > OPENING_SENTENCES and units(text) <= LONG_UNITS:
        edges.append(parts[-1])
    return [part[:MAX_SENTENCE_CHARS] for part in edges]
