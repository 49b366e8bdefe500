"""What an evaluation says: the policy of now against the starting policy, on the same held-out prompts with the same
sampling seeds, by the reward model and by the second scorer where there is one.

A reward that rises while the second scorer's does not, or falls, is the reward model's weakness and not the policy's
merit (reward hacking; Gao et al. 2023, arXiv 2210.10760).
"""

import statistics
from collections.abc import Mapping
from typing import Any

from rl.checkpoints import State
from rl.roles import Scored
from wildreward.errors import WildrewardError
from wildreward.improvement import Improvement, Interval, Rewards, improvement

NAMES = {"reward": "the reward model", "second": "the second scorer"}


def take_in(state: State, scored: Scored, seed: int) -> dict[str, Improvement]:
    """Compare with the start, which the first evaluation is; what was found is in the state and returned by scorer.

    Raises WildrewardError when a scorer has no reward to compare, as when all completions are empty.
    """
    rewards: dict[str, Rewards] = {"reward": scored.rewards_PG}
    if scored.second_PG is not None:
        rewards["second"] = scored.second_PG
    state.start = state.start or dict(rewards)
    found: dict[str, Improvement] = {}
    for name, rewards_PG in rewards.items():
        try:
            found[name] = improvement(state.start[name], rewards_PG, seed)
        except ValueError as error:
            empty = sum(not item.text for row in scored.completions_PG for item in row)
            raise WildrewardError(
                f"evaluation at step {state.step} by {NAMES[name]}: {error} ({empty} of "
                f"{sum(map(len, scored.completions_PG))} completions are empty)"
            ) from error
    state.evaluations[state.step] = {name: item.to_dict() for name, item in found.items()}
    return found


def is_best(state: State, select_by: str) -> bool:
    """Whether the evaluation at the state's step is better than every earlier one but the start's."""
    if state.step == 0:
        return False
    value = state.evaluations[state.step][select_by]["difference"]["mean"]
    return state.best is None or bool(value > state.evaluations[state.best][select_by]["difference"]["mean"])


def evaluation_metrics(found: Mapping[str, Improvement], scored: Scored) -> dict[str, Any]:
    """`eval/...` of the reward model and `eval/second/...`: reward, difference and win rate with their intervals."""
    completions = [item for row in scored.completions_PG for item in row]
    metrics: dict[str, Any] = {}
    for name, item in found.items():
        start = "eval" if name == "reward" else f"eval/{name}"
        for what, value in (("reward", item.after), ("difference", item.difference), ("win_rate", item.win_rate)):
            metrics |= {f"{start}/{what}": value.mean, f"{start}/{what}_low": value.low}
            metrics |= {f"{start}/{what}_high": value.high}
        metrics[f"{start}/prompts"] = item.prompts
    return metrics | {
        "eval/tokens": statistics.fmean(len(item.ids) for item in completions),
        "eval/cut_off_frac": statistics.fmean(item.cut_off for item in completions),
        "eval/empty_frac": statistics.fmean(not item.text for item in completions),
    }


def in_words(step: int, found: Mapping[str, Improvement]) -> str:
    """One line for the console.

    >>> in_words(0, {"reward": improvement([[1.0], [2.0]], [[1.0], [2.0]])})
    'held out, step 0: reward 1.500 [1.000, 2.000]'
    """
    parts = []
    for name, item in found.items():
        against = f", {item.difference.mean:+.3f}, wins {item.win_rate.mean:.0%}" if step else ""
        parts.append(f"{name} {item.after}{against}")
    return f"held out, step {step}: {'; '.join(parts)}"


def interval(values: Mapping[str, float]) -> Interval:
    return Interval(**values)


def warning_of(improvements: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What a reader must be told first: the reward rose for sure, and the second scorer did not see it.

    >>> up, flat = ({"difference": {"mean": m, "low": m - 0.1, "high": m + 0.1}} for m in (0.5, 0.0))
    >>> warning_of({"reward": up, "second": up}), warning_of({"reward": up})
    (None, None)
    >>> warning_of({"reward": up, "second": flat})
    'the reward rose by 0.500 [0.400, 0.600], the second scorer by 0.000 [-0.100, 0.100]: look for reward hacking'
    """
    if "second" not in improvements:
        return None
    reward, second = (interval(improvements[name]["difference"]) for name in ("reward", "second"))
    if reward.low <= 0 or second.low > 0:
        return None
    return f"the reward rose by {reward}, the second scorer by {second}: look for reward hacking"
