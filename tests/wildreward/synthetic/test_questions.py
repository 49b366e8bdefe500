"""Questions and replies: every family works in every language, facts are right, grades differ in what they say."""

import re
from random import Random

import pytest

from wildreward.synthetic import material
from wildreward.synthetic.follow_ups import Manner, word
from wildreward.synthetic.questions import FACTS, Question, again, build, deeper, draw
from wildreward.synthetic.replies import GRADES, room, write

FAMILIES = [(lang, family) for lang in ("en", "zh") for family in material.families(lang)]
PLAIN = Manner(lower=0.0, typos=0.0, bare=0.0)


def question(lang: str, family: str, seed: int = 0) -> Question:
    rng = Random(seed)
    return build(rng, lang, family, FACTS[family](rng, lang))


@pytest.mark.parametrize(("lang", "family"), FAMILIES)
def test_every_family_fills_its_slots(lang: str, family: str) -> None:
    for seed in range(20):
        rng, asked = Random(seed), question(lang, family, seed)
        texts = [
            asked.prompt,
            asked.topic,
            asked.key,
            *asked.good,
            asked.wrong,
            again(rng, asked),
            deeper(rng, asked).prompt,
        ]
        assert all(text.strip() for text in texts)
        assert asked.wrong != asked.good[0]
        if family not in {"code", "commands"}:
            assert not any("{" in text for text in texts)


@pytest.mark.parametrize(("lang", "family"), FAMILIES)
def test_replies_of_all_grades_keep_near_the_length_asked_for(lang: str, family: str) -> None:
    for seed in range(5):
        asked = question(lang, family, seed)
        chars = room(Random(seed), asked)
        for grade in GRADES:
            reply = write(Random(seed), asked, grade, chars)
            longest = max(map(len, [*asked.good, asked.wrong]))
            assert 0 < len(reply) < chars + longest + 60


def test_good_replies_hold_the_answer_and_wrong_ones_the_wrong_answer() -> None:
    for seed in range(50):
        rng = Random(seed)
        asked = draw(rng, "en")
        chars = room(rng, asked)
        assert asked.good[0][1:] in write(rng, asked, 5, chars)
        assert asked.good[0][1:] in write(rng, asked, 4, chars)
        assert asked.wrong[1:] in write(rng, asked, 2, chars)
        assert asked.good[0][1:] not in write(rng, asked, 1, chars)


def test_arithmetic_is_right() -> None:
    for seed in range(50):
        product = question("en", "product", seed)
        a, b = map(int, re.findall(r"\d+", product.topic))
        assert product.key == str(a * b)
        percent = question("en", "percent", seed)
        p, n = map(int, re.findall(r"\d+", percent.topic))
        assert float(percent.key) == pytest.approx(p * n / 100, abs=0.01)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_follow_up_phrase_can_be_worded(lang: str) -> None:
    for level in (1, 2, 3, 4, 5):
        for seed in range(60):
            rng = Random(seed)
            follow_up = word(rng, level, draw(rng, lang), PLAIN)
            assert follow_up.text.strip()
            assert not re.search(r"\{(topic|key|ask|more|next)\}", follow_up.text)


def test_every_level_has_many_phrases_and_none_is_in_two_levels() -> None:
    for lang, least in (("en", 30), ("zh", 15)):
        pools = material.follow_ups(lang)
        phrases = [set(pools[level]) for level in (1, 2, 3, 4, 5)]
        assert all(len(found) >= least for found in (*phrases[:2], *phrases[3:]))
        assert sum(map(len, phrases)) == len(set().union(*phrases))
