"""From scored completions of one prompt to a preference pair: best against worst, or a counted reason for none."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

SkipReason = Literal["score_failed", "empty", "duplicates", "cut_off", "length_gap", "tie", "gap"]
SKIP_REASONS: tuple[SkipReason, ...] = get_args(SkipReason)


@dataclass(frozen=True)
class Completion:
    """What the policy wrote for a prompt. `cut_off`: it reached the length limit before it ended by itself."""

    text: str
    ids: tuple[int, ...]
    cut_off: bool
    version: int  # of the weights that wrote it


@dataclass(frozen=True)
class PairRule:
    """How best and worst are chosen; see the settings of the same names."""

    min_reward_gap: float = 0.0
    length_penalty: float = 0.0
    choose_cut_off: bool = True
    max_length_gap: int | None = None


@dataclass(frozen=True)
class Pair:
    """Indices of the chosen and the rejected completion, and their rewards as the reward model gave them."""

    chosen: int
    rejected: int
    chosen_reward: float
    rejected_reward: float


def choose_pair(
    completions: Sequence[Completion], rewards: Sequence[float | None], rule: PairRule = PairRule()
) -> Pair | SkipReason:
    """Best against worst of one prompt's completions; `None` among the rewards is a score that could not be had.

    Empty completions and all but the first of equal texts are left out. Of the pairs that the rule allows the one with
    the largest gap is taken; between equal gaps the first counts.

    >>> make = lambda text: Completion(text, (1,), cut_off=False, version=0)
    >>> choose_pair([make("a"), make("b"), make("b")], [1.5, 3.0, 1.0])
    Pair(chosen=1, rejected=0, chosen_reward=3.0, rejected_reward=1.5)
    >>> choose_pair([make("a"), make("b")], [2.0, 2.0]), choose_pair([make("a"), make("b")], [2.0, None])
    ('tie', 'score_failed')
    """
    written = {index: rewards[index] for index, completion in enumerate(completions) if completion.text}
    known = {index: reward for index, reward in written.items() if reward is not None}
    if len(known) < len(written):
        return "score_failed"
    if not known:
        return "empty"
    distinct = _first_of_equal_texts(completions, known)
    if len(distinct) < 2:
        return "duplicates"
    chosen = [index for index in distinct if rule.choose_cut_off or not completions[index].cut_off]
    lengths = {index: len(completions[index].ids) for index in distinct}
    allowed = list(_within(chosen, lengths, rule.max_length_gap))
    if not allowed:
        return "length_gap" if chosen else "cut_off"
    values = {index: known[index] - rule.length_penalty * lengths[index] / 100 for index in distinct}
    best, worst = max(allowed, key=lambda pair: values[pair[0]] - values[pair[1]])
    gap = values[best] - values[worst]
    if gap <= rule.min_reward_gap:
        return "tie" if gap <= 0 else "gap"
    return Pair(best, worst, known[best], known[worst])


def removed(completions: Sequence[Completion]) -> Counter[str]:
    """How many of a prompt's completions are never in a pair: empty ones, and texts that were there already.

    >>> make = lambda text: Completion(text, (1,), cut_off=False, version=0)
    >>> removed([make("a"), make(""), make("a"), make("a")])
    Counter({'duplicate': 2, 'empty': 1})
    """
    texts = [completion.text for completion in completions if completion.text]
    return +Counter(duplicate=len(texts) - len(set(texts)), empty=len(completions) - len(texts))


def _within(chosen: Sequence[int], lengths: dict[int, int], limit: int | None) -> Iterator[tuple[int, int]]:
    """Pairs of a completion that may be chosen and another, whose lengths in tokens differ by at most `limit`."""
    for best in chosen:
        for worst, length in lengths.items():
            if worst != best and (limit is None or abs(lengths[best] - length) <= limit):
                yield best, worst


def _first_of_equal_texts(completions: Sequence[Completion], indices: dict[int, float]) -> list[int]:
    first: dict[str, int] = {}
    for index in indices:
        first.setdefault(completions[index].text, index)
    return list(first.values())
