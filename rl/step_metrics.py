"""The measures of one step, from what was written, scored and learned. Their names are those in metrics.jsonl."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rl.roles import Scored
from rl.rollout import Timed
from wildreward.pairs import Pair, removed

QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


def completions_of(scored: Scored) -> Counter[str]:
    """How many completions there are, and how many are empty, there already, cut off, or without a score."""
    completions = [item for row in scored.completions_PG for item in row]
    counts = Counter(written=len(completions), cut_off=sum(item.cut_off for item in completions))
    for row in scored.completions_PG:
        counts += removed(row)
    return counts + Counter(score_failed=sum(scored.failures.values()))


def reward_metrics(scored: Scored, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Of all completions of the step, and of its pairs."""
    import numpy as np

    rewards = rewards_of(scored)
    counts, lengths = completions_of(scored), lengths_of(scored)
    metrics: dict[str, Any] = {"completion/tokens": statistics.fmean(lengths), "completion/tokens_max": max(lengths)}
    metrics |= {
        f"completion/{name}_frac": counts[name] / counts["written"] for name in ("cut_off", "empty", "duplicate")
    }
    metrics |= {"scores_failed": counts["score_failed"], "pairs": len(pairs)}
    if rewards:
        metrics |= {"reward/mean": statistics.fmean(rewards), "reward/std": statistics.pstdev(rewards)}
        metrics |= {"reward/min": min(rewards), "reward/max": max(rewards)}
        metrics |= {
            f"reward/{name}": float(np.quantile(rewards, share, method="inverted_cdf"))
            for name, share in QUANTILES.items()
        }
        metrics |= {f"scored/{name}_frac": count / len(rewards) for name, count in scored.read_cut.items()}
    if pairs:
        chosen = statistics.fmean(pair.chosen_reward for pair in pairs)
        rejected = statistics.fmean(pair.rejected_reward for pair in pairs)
        metrics |= {"reward/chosen": chosen, "reward/rejected": rejected, "reward/margin": chosen - rejected}
    return metrics


def rewards_of(scored: Scored) -> list[float]:
    return [reward for row in scored.rewards_PG for reward in row if reward is not None]


def lengths_of(scored: Scored) -> list[int]:
    return [len(item.ids) for row in scored.completions_PG for item in row]


def role_metrics(scored: Scored, others: dict[str, Timed]) -> dict[str, float]:
    """Seconds and tokens per second of every role in this step."""
    seconds = scored.seconds | {role: timed.seconds for role, timed in others.items()}
    tokens = scored.tokens | {role: timed.tokens for role, timed in others.items()}
    return {f"seconds/{role}": value for role, value in seconds.items()} | {
        f"tokens_per_s/{role}": tokens[role] / value for role, value in seconds.items() if value > 0
    }
