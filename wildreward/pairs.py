"""From scored completions of one prompt to a preference pair: best against worst, or a counted reason for none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SkipReason = Literal["score_failed", "empty", "duplicates", "cut_off", "tie", "gap"]


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

    Empty completions and all but the first of equal texts are left out. Between equal rewards the first counts.

    >>> make = lambda text: Completion(text, (1,), cut_off=False, version=0)
    >>> choose_pair([make("a"), make("b"), make("b")], [1.5, 3.0, 1.0])
    Pair(chosen=1, rejected=0, chosen_reward=3.0, rejected_reward=1.5)
    >>> choose_pair([make("a"), make("b")], [2.0, 2.0]), choose_pair([make("a"), make("b")], [2.0, None])
    ('tie', 'score_failed')
    """
    written = [(completion, reward) for completion, reward in zip(completions, rewards, strict=True) if completion.text]
    if any(reward is None for _, reward in written):
        return "score_failed"
    values = {
        index: reward - rule.length_penalty * len(completion.ids) / 100
        for index, (completion, reward) in enumerate(zip(completions, rewards, strict=True))
        if reward is not None and completion.text
    }
    if not values:
        return "empty"
    distinct = _first_of_equal_texts(completions, values)
    if len(distinct) < 2:
        return "duplicates"
    worst = min(distinct, key=lambda index: (values[index], index))
    candidates = [index for index in distinct if rule.choose_cut_off or not completions[index].cut_off]
    if not candidates:
        return "cut_off"
    best = min(candidates, key=lambda index: (-values[index], index))
    gap = values[best] - values[worst]
    if gap <= rule.min_reward_gap:
        return "tie" if gap <= 0 else "gap"
    return Pair(best, worst, _known(rewards[best]), _known(rewards[worst]))


def _first_of_equal_texts(completions: Sequence[Completion], indices: Sequence[int] | dict[int, float]) -> list[int]:
    first: dict[str, int] = {}
    for index in indices:
        first.setdefault(completions[index].text, index)
    return list(first.values())


def _known(reward: float | None) -> float:
    if reward is None:
        raise ValueError("a pair was chosen from a completion without a reward")
    return reward
