"""What a label run would ask and cost, counted from its input without asking: the numbers of `label --dry-run`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wildreward.cost import usd
from wildreward.quarantine import allowed_frac, too_many
from wildreward.settings.label import LabelSettings


@dataclass
class Questions:
    """Counts of one part of the input, or of all of it after `merge`. No question is asked again here."""

    conversations: Counter[str] = field(default_factory=Counter)
    """By outcome: kept, no_follow_up, `quarantined: REASON`."""
    turns: int = 0
    prompt_tokens: int = 0
    refusal_like: int = 0
    """Replies that look like refusals: each is asked about if the feedback on it is negative."""
    refusal_prompt_tokens: int = 0
    """If all of them were asked about."""

    def merge(self, other: Self) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def as_row(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{**row, "conversations": Counter(row["conversations"])})

    @property
    def quarantined(self) -> int:
        return sum(count for outcome, count in self.conversations.items() if outcome.startswith("quarantined"))


@dataclass(frozen=True)
class Expected:
    """What follows from the counts and the assumptions in the settings."""

    refusal_questions: float
    prompt_tokens: float
    completion_tokens: float
    usd: float | None


def expected(found: Questions, settings: LabelSettings) -> Expected:
    """The lexicon is asked too, and takes no tokens.

    >>> found = Questions(turns=1000, prompt_tokens=500_000, refusal_like=100, refusal_prompt_tokens=40_000)
    >>> settings = LabelSettings(dry_run=True, judge="openai", assumed_negative_frac=0.2, assumed_answer_tokens=30)
    >>> expected(found, settings)
    Expected(refusal_questions=20.0, prompt_tokens=508000.0, completion_tokens=30600.0, usd=None)
    """
    share = settings.assumed_negative_frac
    refusals = found.refusal_like * share
    if settings.judge == "lexicon":
        return Expected(refusals, 0, 0, usd(0, 0, settings))
    prompt = found.prompt_tokens + found.refusal_prompt_tokens * share
    answers = (found.turns + refusals) * min(settings.assumed_answer_tokens, settings.judge_max_tokens)
    return Expected(refusals, prompt, answers, usd(prompt, answers, settings))


def report(found: Questions, settings: LabelSettings, counted: str) -> str:
    """The table for the console; every assumption stands beside the number that rests on it."""
    guess = expected(found, settings)
    lines = [
        "dry run: nothing was asked, nothing was written",
        _line("conversations", found.conversations.total(), _trial(settings)),
        *(_line(f"  {outcome}", count) for outcome, count in sorted(found.conversations.items())),
        _line("turns to judge", found.turns, "one question each"),
        _line("refusal questions", guess.refusal_questions, _refusals(found, settings)),
        *_tokens(guess, settings, counted),
    ]
    if too_many(found.quarantined, found.conversations.total(), settings):
        share, allowed = found.quarantined / found.conversations.total(), allowed_frac(settings)
        lines.append(f"the run would stop: {share:.1%} are quarantined, max_quarantined_frac is {allowed:.1%}")
    return "\n".join(lines)


def _tokens(guess: Expected, settings: LabelSettings, counted: str) -> list[str]:
    if settings.judge == "lexicon":
        return ["the judge is the built-in lexicon: no tokens, no price (name another with --judge)"]
    answer = f"expected: {settings.assumed_answer_tokens} an answer (--assumed-answer-tokens)"
    lines = [
        _line("prompt tokens", guess.prompt_tokens, counted),
        _line("completion tokens", guess.completion_tokens, f"{answer}; at most {settings.judge_max_tokens}"),
    ]
    if guess.usd is None:
        return [*lines, "price: give --usd-per-million-input and --usd-per-million-output"]
    price = f"at {settings.usd_per_million_input:g} and {settings.usd_per_million_output:g} USD a million tokens"
    return [*lines, f"{'price':<26}{guess.usd:>16,.2f} USD  {price}; questions asked again not counted"]


def _refusals(found: Questions, settings: LabelSettings) -> str:
    if not settings.refusal_validation:
        return "refusal_validation is off"
    share = f"{settings.assumed_negative_frac:g} get negative feedback (--assumed-negative-frac)"
    return f"expected: {found.refusal_like:,} replies look like refusals, {share}; at most {found.refusal_like:,}"


def _trial(settings: LabelSettings) -> str:
    parts = [] if settings.sample_frac == 1 else [f"a sample of {settings.sample_frac:g} with seed {settings.seed}"]
    parts += [] if settings.limit is None else [f"the first {settings.limit:,}"]
    return " of ".join(reversed(parts))


def _line(name: str, count: float, about: str = "") -> str:
    return f"{name:<26}{round(count):>16,}  {about}".rstrip()
