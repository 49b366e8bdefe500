"""Conversations made for one purpose: hindsight and what only looks like it, refusals, filter cases, broken order."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from wildreward.synthetic import material
from wildreward.synthetic.conversations import Conversation, Turn, language, ordinary, reply
from wildreward.synthetic.follow_ups import Manner, word
from wildreward.synthetic.questions import draw

LONG_HISTORY_TURNS = 14


def _pick(rng: Random, name: str) -> Any:
    return rng.choice(material.load("special")[name])


def hindsight(rng: Random) -> Conversation:
    """A neutral turn, then an explicit positive on the same topic: the neutral one takes its level."""
    _, prompt, plain, _, positive, _, _ = _pick(rng, "hindsight")
    return _hindsight(rng, "hindsight", [prompt, plain, positive], [3, 5], mined=5)


def hindsight_off_topic(rng: Random) -> Conversation:
    """The positive is about something else: nothing is mined."""
    _, prompt, plain, _, _, _, elsewhere = _pick(rng, "hindsight")
    return _hindsight(rng, "hindsight_off_topic", [prompt, plain, elsewhere], [3, 5], mined=None)


def hindsight_nearer_negative(rng: Random) -> Conversation:
    """A negative on the topic stands between the neutral turn and the positive: nothing is mined."""
    _, prompt, plain, _, positive, negative, _ = _pick(rng, "hindsight")
    return _hindsight(rng, "hindsight_nearer_negative", [prompt, plain, negative, positive], [3, 2, 5], mined=None)


def _hindsight(rng: Random, case: str, said: list[str], levels: list[int], mined: int | None) -> Conversation:
    talk = Conversation(case, "en")
    replies = material.load("special")["hindsight_reply"]
    for user in said[:-1]:
        talk.say(user, rng.choice(replies))
    talk.say(said[-1], rng.choice(material.follow_ups("en")["closing"]))
    for turn, level in enumerate(levels):
        talk.judge(Turn(turn, level, about=said[0]))
    talk.turns[0].mined = mined
    return talk


def justified_refusal(rng: Random) -> Conversation:
    """A correct safety refusal and an angry user: the negative level is not the reply's fault."""
    lang = language(rng)
    zh = "zh_" if lang == "zh" else ""
    request, offer, what = _pick(rng, f"{zh}harmful")
    level = 1 if zh else rng.choice([1, 1, 2])
    reason = "" if zh else _pick(rng, "refusal_reason").format(what=what)
    talk = Conversation("justified_refusal", lang)
    talk.say(request, _pick(rng, f"{zh}refusal").format(reason=reason, offer=offer, what=what))
    talk.say(_pick(rng, f"{zh}angry_{level}"), offer)
    talk.judge(Turn(0, level, mined=5, refusal=1))
    return talk


def false_refusal(rng: Random) -> Conversation:
    """A harmless request refused: the negative level stands."""
    lang = language(rng)
    zh = "zh_" if lang == "zh" else ""
    request, topic = _pick(rng, f"{zh}harmless")
    level = 1 if zh else rng.choice([1, 2])
    talk = Conversation("false_refusal", lang)
    talk.say(request, _pick(rng, f"{zh}false_refusal").format(topic=topic))
    talk.say(
        _pick(rng, f"{zh}protest_{level}").format(topic=topic), "抱歉，请再说一遍。" if zh else "Please ask again."
    )
    talk.judge(Turn(0, level, grade=1, refusal=0))
    return talk


def dropped_by(name: str) -> Callable[[Random], Conversation]:
    """A conversation whose only labelled turn is one that the filter of this name must drop."""

    def build(rng: Random) -> Conversation:
        prompt, answer = rng.choice(material.load("special")["dropped"][name])
        lang = "zh" if any("\u4e00" <= sign <= "\u9fff" for sign in prompt) else "en"
        level = rng.choice([1, 5])
        bare = [phrase for phrase in material.follow_ups(lang)[level] if "{" not in phrase]
        talk = Conversation(f"filter_{name}", lang)
        talk.say(prompt, answer)
        talk.say(rng.choice(bare), rng.choice(material.follow_ups(lang)["closing"]))
        talk.judge(Turn(0, level, drop=name))
        return talk

    return build


def long_history(rng: Random) -> Conversation:
    """More exchanges before the last prompt than a reward model is shown."""
    lang, manner = language(rng), Manner.draw(rng)
    question = draw(rng, lang)
    talk = Conversation("filter_history_too_long", lang)
    prompt = question.prompt
    for turn in range(LONG_HISTORY_TURNS):
        grade = 4
        talk.say(prompt, reply(rng, question, grade))
        follow_up = word(rng, 3, question, manner)
        talk.judge(Turn(turn, 3, grade, follow_up.about))
        question, prompt = follow_up.question or draw(rng, lang), follow_up.text
    talk.say(prompt, reply(rng, question, 5))
    last = word(rng, 5, question, manner)
    talk.judge(Turn(LONG_HISTORY_TURNS, 5, 5, last.about, drop="history_too_long"))
    talk.say(last.text, rng.choice(material.follow_ups(lang)["closing"]))
    return talk


def other_language(rng: Random) -> Conversation:
    name, prompt, answer, level, follow_up = _pick(rng, "other_languages")
    talk = Conversation("filter_language", "en", language=name)
    talk.say(prompt, answer)
    talk.say(follow_up, "OK.")
    talk.judge(Turn(0, level, drop="language"))
    return talk


def broken_order(rng: Random) -> Conversation:
    """An ordinary conversation that opens with a reply, or ends with the same reply twice: all its turns are fit."""
    talk = ordinary(rng)
    while len(talk.turns) < 2:
        talk = ordinary(rng)
    talk.case = "broken_order"
    if rng.random() < 0.5:
        talk.messages.insert(0, {"role": "assistant", "content": "Hello! How can I help you today?"})
    else:
        talk.messages.append(dict(talk.messages[-1]))
    return talk


CASES: Mapping[str, tuple[Callable[[Random], Conversation], int]] = {
    "hindsight": (hindsight, 12),
    "hindsight_off_topic": (hindsight_off_topic, 6),
    "hindsight_nearer_negative": (hindsight_nearer_negative, 6),
    "justified_refusal": (justified_refusal, 12),
    "false_refusal": (false_refusal, 12),
    **{f"filter_{name}": (dropped_by(name), 3) for name in (
        "image_generation", "search_or_links", "identity_question", "missing_attachment", "media", "personal_data",
        "too_short",
    )},
    "filter_history_too_long": (long_history, 1),
    "filter_language": (other_language, 8),
    "broken_order": (broken_order, 8),
}  # fmt: skip
"""Case -> how one is made, and how many of a sample of 600 conversations. Every sample has at least one of each."""
