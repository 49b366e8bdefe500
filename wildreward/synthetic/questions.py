"""Questions with everything needed to answer them well or badly.

A question is a family (how users ask, how an answer reads) filled with facts: a row of written material, or numbers
that are computed here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from wildreward.synthetic import material

Facts = Mapping[str, Any]

WEIGHTS = {
    "definitions": 5, "whys": 4, "comparisons": 3, "events": 3, "capitals": 3, "currencies": 2, "languages": 1,
    "howtos": 5, "commands": 3, "code": 3, "translations": 3, "grammar": 3, "passages": 2, "recipes": 2, "emails": 4,
    "percent": 2, "product": 2, "journey": 2, "average": 2, "discount": 2, "units": 3,
}  # fmt: skip
UNITS = (
    ("miles", "kilometres", 1.609), ("pounds", "kilograms", 0.4536), ("inches", "centimetres", 2.54),
    ("feet", "metres", 0.3048), ("gallons", "litres", 3.785), ("ounces", "grams", 28.35), ("acres", "hectares", 0.4047),
    ("knots", "kilometres per hour", 1.852), ("pints", "millilitres", 473.2), ("yards", "metres", 0.9144),
)  # fmt: skip
SERIAL = frozenset({
    "capitals", "currencies", "languages", "events", "translations", "grammar", "percent", "product", "journey",
    "average", "discount", "units",
})  # fmt: skip
"""Families of which users ask one after the other, rather than go deeper into one."""
TONGUES = ("Spanish", "French", "German")


@dataclass(frozen=True)
class Question:
    """What a user asks, and what good and bad answers are made of. Every sentence of an answer stands alone."""

    lang: str
    family: str
    topic: str
    """How a user names it."""
    prompt: str
    good: tuple[str, ...]
    """True, specific sentences; the first one answers the question."""
    wrong: str
    """A wrong answer, or one that ignores what was asked for."""
    key: str
    """What a correcting user points to."""


def draw(rng: Random, lang: str) -> Question:
    """A question of a random family."""
    names = [name for name in material.families(lang) if name in WEIGHTS]
    family = rng.choices(names, [WEIGHTS[name] for name in names])[0]
    return build(rng, lang, family, FACTS[family](rng, lang))


def build(rng: Random, lang: str, family: str, facts: Facts) -> Question:
    spec = material.families(lang)[family]
    more = facts["more"] if spec["more"] == "*" else [line.format_map(facts) for line in spec["more"]]
    return Question(
        lang=lang,
        family=family,
        topic=spec["topic"].format_map(facts),
        prompt=rng.choice(spec["ask"]).format_map(facts),
        good=(spec["is"].format_map(facts), *more),
        wrong=spec["not"].format_map(facts),
        key=spec["key"].format_map(facts),
    )


def deeper(rng: Random, question: Question) -> Question:
    """A further question on the same topic; its answer leads with what was a detail before."""
    if question.family in SERIAL:
        return build(rng, question.lang, question.family, FACTS[question.family](rng, question.lang))
    prompt = rng.choice(material.follow_ups(question.lang)["more"]).format(topic=question.topic)
    first, *details = question.good
    rng.shuffle(details)
    return replace(question, prompt=prompt, good=(*details, first))


def again(rng: Random, question: Question) -> str:
    """The same question in the words of somebody who has to repeat it."""
    return rng.choice(material.follow_ups(question.lang)["again"]).format(prompt=question.prompt)


def _row(kind: str) -> Callable[[Random, str], Facts]:
    return lambda rng, lang: rng.choice(material.rows(lang)[kind])


def _event(rng: Random, lang: str) -> Facts:
    event, year, who, detail = rng.choice(material.rows(lang)["events"])
    wrong = year + rng.choice([-41, -17, -12, -6, -3, 3, 5, 9, 14, 28])
    if lang == "zh":
        year, wrong = (f"公元前{-y}" if y < 0 else y for y in (year, wrong))
    return {"event": event, "year": year, "wrong": wrong, "who": who, "detail": detail}


def _country(column: int) -> Callable[[Random, str], Facts]:
    def facts(rng: Random, lang: str) -> Facts:
        rows = material.rows(lang)["countries"]
        row = rng.choice(rows)
        others = [other[column] for other in rows if other[column] != row[column]]
        names = ("country", "capital", "city", "currency", "language", "fact")
        return dict(zip(names, row, strict=True)) | {"wrong": rng.choice(others)}

    return facts


def _howto(rng: Random, lang: str) -> Facts:
    row = rng.choice(material.rows(lang)["howtos"])
    tip, *more = rng.sample(row["tips"], len(row["tips"]))
    return row | {"tip": tip, "more": more}


def _translation(rng: Random, lang: str) -> Facts:
    rows = material.rows(lang)["translations"]
    phrase, *others = rng.sample(rows, 2)
    column = 1 if lang == "zh" else rng.randrange(1, 4)
    return {
        "phrase": phrase[0], "tongue": TONGUES[column - 1], "right": phrase[column], "wrong": others[0][column],
    }  # fmt: skip


def _grammar(rng: Random, lang: str) -> Facts:
    return dict(zip(("wrong", "right", "rule"), rng.choice(material.rows(lang)["grammar"]), strict=True))


def _recipe(rng: Random, lang: str) -> Facts:
    row = rng.choice(material.rows(lang)["recipes"])
    return row | {"more": row["steps"]}


def _email(rng: Random, lang: str) -> Facts:
    return rng.choice(material.rows(lang)["emails"]) | {"constraint": rng.choice(material.rows(lang)["constraints"])}


def _wrong(rng: Random, right: float) -> str:
    """A number near the right one, as a slip would give it."""
    return number(max(right + rng.choice([-1, 1]) * max(1, round(abs(right) * rng.choice([0.05, 0.1, 0.2, 0.5]))), 0.5))


def number(value: float) -> str:
    """
    >>> number(12.0), number(40.849999), number(0.3)
    ('12', '40.85', '0.3')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _percent(rng: Random, lang: str) -> Facts:
    p, n = rng.choice([4, 6, 8, 12, 15, 17, 18, 22, 24, 35, 45, 65]), rng.randrange(40, 960, 10)
    right = p * n / 100
    shown = {"one": n / 100, "ten": n / 10, "right": right}
    return {"p": p, "n": n, "wrong": _wrong(rng, right)} | {name: number(value) for name, value in shown.items()}


def _product(rng: Random, lang: str) -> Facts:
    a, b = rng.randrange(12, 99), rng.randrange(12, 99)
    tens, ones = b // 10 * 10, b % 10
    return {
        "a": a, "b": b, "right": a * b, "wrong": _wrong(rng, a * b), "tens": tens, "ones": ones, "part": a * tens,
        "rest": a * ones,
    }  # fmt: skip


def _journey(rng: Random, lang: str) -> Facts:
    v, h = rng.randrange(40, 180, 5), rng.choice([1.5, 2, 2.5, 3, 3.5, 4, 5, 6])
    return {"v": v, "h": number(h), "right": number(v * h), "wrong": _wrong(rng, v * h)}


def _average(rng: Random, lang: str) -> Facts:
    values = [rng.randrange(40, 100) for _ in range(rng.choice([3, 4, 5]))]
    right = sum(values) / len(values)
    return {
        "list": ", ".join(map(str, values)), "right": number(right), "wrong": _wrong(rng, right), "total": sum(values),
        "count": len(values), "low": min(values), "high": max(values),
    }  # fmt: skip


def _discount(rng: Random, lang: str) -> Facts:
    n, p = rng.randrange(20, 400, 5), rng.choice([10, 15, 20, 25, 30, 40, 60])
    off = n * p / 100
    return {"n": n, "p": p, "off": number(off), "right": number(n - off), "wrong": _wrong(rng, n - off)}


def _units(rng: Random, lang: str) -> Facts:
    source, target, factor = rng.choice(UNITS)
    x = rng.choice([2, 3, 5, 7, 8, 12, 15, 26, 30, 48, 60, 75, 110, 250])
    return {
        "x": x, "from": source, "to": target, "factor": f"{factor:g}", "rough": f"{factor:.1g}",
        "right": number(x * factor), "wrong": _wrong(rng, x * factor),
    }  # fmt: skip


FACTS: Mapping[str, Callable[[Random, str], Facts]] = {
    "definitions": _row("definitions"), "whys": _row("whys"), "comparisons": _row("comparisons"), "events": _event,
    "capitals": _country(2), "currencies": _country(3), "languages": _country(4), "howtos": _howto,
    "commands": _row("commands"), "code": _row("code"), "translations": _translation, "grammar": _grammar,
    "passages": _row("passages"), "recipes": _recipe, "emails": _email, "percent": _percent, "product": _product,
    "journey": _journey, "average": _average, "discount": _discount, "units": _units,
}  # fmt: skip
