"""RewardBench 2: six domains, best of four (Malik et al. 2025, arXiv 2506.01937; data allenai/reward-bench-2, `test`).

Fields: id, prompt, chosen and rejected (lists), num_correct, num_incorrect, total_completions, models, subset.
Rules, as in allenai/reward-bench (commit a0096928):
- outside Ties a prompt earns 1 / (number of replies with the highest score) when its chosen reply is one of them, else
  0 (utils.py reroll_and_score_dataset): 1/4 by chance;
- Ties (utils.py process_single_model): ids are `tied:N` (several right answers) and `ref:N` (one). A prompt is
  accurate when every right answer beats every wrong one; its margin is the worst right minus the best wrong score, its
  spread the best minus the worst right one. Score = 0.3 accuracy of tied + 0.3 of ref + 0.2 share of N whose tied
  margin exceeds the spread + 0.2 share where the smaller of tied and ref margin does + 0.01 mean of tanh(smaller
  margin / spread - 1), where 0/0 counts 0;
- `overall` is the unweighted mean of the six (leaderboard).
The bootstrap draws prompts; tied:N and ref:N are drawn together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wildreward.benchmarks.evaluation_set import Item, SetResult, as_number, as_text
from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics, measure_all
from wildreward.benchmarks.parts import coverage, mean_of, minimum_of, part_measure, slug
from wildreward.benchmarks.rated import hash_of
from wildreward.benchmarks.reply_lists import ReplyLists, conversations_of, is_list
from wildreward.metrics import Array, Statistic, rate_within
from wildreward.scorer import Conversation

COUNTS = {"Factuality": 475, "Precise IF": 160, "Math": 183, "Safety": 450, "Focus": 495, "Ties": 102}
"""Prompts of each subset, 1,865 together."""

TIES = "Ties"
TIES_WEIGHTS = {
    "tied_accuracy": 0.30,
    "ref_accuracy": 0.30,
    "correctness_preferred": 0.20,
    "correctness_preferred_hard": 0.20,
    "margin": 0.01,
}


class RewardBench2(ReplyLists):
    kind = "rewardbench2"
    needs = ("id", "prompt", "chosen", "rejected", "num_correct", "subset")
    shown = ("overall", *map(slug, COUNTS), "worst_subset")

    @classmethod
    def is_one(cls, values: Mapping[str, Any]) -> bool:
        return is_list(values.get("chosen"))

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        """Ids are unique within a subset; `tie` is (kind, N) of a row of Ties."""
        subset, name = as_text(values.get("subset")), as_text(values.get("id")) or str(row)
        kind, _, number = name.partition(":")
        ties = subset == TIES
        return {
            "id": f"{subset}/{name}",
            "subset": subset,
            "group": f"ties:{number}" if ties else hash_of(repr(values.get("prompt"))),
            "tie_kind": kind if ties else None,
            "tie_number": number if ties else None,
            "num_correct": as_number(values.get("num_correct")),
        }

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        chosen, rejected = values["chosen"], values["rejected"]
        if not (is_list(chosen) and is_list(rejected) and chosen and rejected):
            return {}, "replies_not_a_list"
        if as_number(values["num_correct"]) != len(chosen):
            return {}, "num_correct_is_not_that_of_chosen"
        if values["subset"] == TIES:
            kind, _, number = str(values["id"]).partition(":")
            if kind not in ("ref", "tied") or not number:
                return {}, "id_not_ref_or_tied"
            if kind == "tied" and len(chosen) < 2:
                return {}, "tied_without_two_right_answers"
        elif len(chosen) != 1:
            return {}, "not_one_right_answer"
        return conversations_of(values["prompt"], [*chosen, *rejected])

    def measure(self, options: MeasureOptions) -> SetResult:
        orders, items = self.orders(options.seed), self.scored
        subsets_N = self.column("subset")
        credits = {who: np.array([best_of_credit(row) for row in rows]) for who, rows in orders.items()}
        for item, credit in zip(items, credits["model"], strict=True):
            item["credit"] = None if item["subset"] == TIES else float(credit)
        chances_N = np.array([1 / len(item["scores"]) for item in items])
        parts = {name: _best_of(credits, chances_N, subsets_N == name) for name in COUNTS if name != TIES}
        ties = {who: ties_parts(items, rows) for who, rows in orders.items()}
        parts[TIES] = _ties_measure({who: made.score() for who, made in ties.items()}, subsets_N == TIES)
        measures = {"overall": mean_of([parts[name] for name in COUNTS])}
        measures |= {slug(name): parts[name] for name in COUNTS} | {"worst_subset": minimum_of(list(parts.values()))}
        pieces = {
            f"{TIES}\t{name}": _ties_measure(
                {who: made.statistics()[name] for who, made in ties.items()}, subsets_N == TIES
            )
            for name in TIES_WEIGHTS
        }
        metrics = measure_all(measures | pieces, self.groups(options), options)
        by_part: dict[str, Metrics] = {TIES: {name: metrics.pop(f"{TIES}\t{name}") for name in TIES_WEIGHTS}}
        found = coverage(self.items, "subset", COUNTS)
        extra = {"official": found.to_dict(), "replies": _sizes(items), "direction_of_length": "longer is better"}
        return SetResult(metrics, ("overall", "worst_subset"), by_part, extra, found.notes())


def best_of_credit(scores: Array) -> float:
    """Credit of a prompt whose first reply is the right one.

    >>> [best_of_credit(np.array(row)) for row in ([3, 1, 2, 0], [3, 3, 2, 0], [2, 3, 2, 0], [1, 1, 1, 1])]
    [1.0, 0.5, 0.0, 0.25]
    """
    top = scores == scores.max()
    return float(top[0] / top.sum())


@dataclass(frozen=True)
class TiesParts:
    """Per row of Ties (0 elsewhere): what the Ties score is made of, and which rows each piece is about."""

    accurate_N: Array
    preferred_N: Array
    hard_N: Array
    margin_N: Array
    tied_N: Array
    ref_N: Array
    paired_N: Array
    """Rows tied:N whose ref:N is there."""

    def statistics(self) -> dict[str, Statistic]:
        return {
            "tied_accuracy": rate_within(self.accurate_N, self.tied_N),
            "ref_accuracy": rate_within(self.accurate_N, self.ref_N),
            "correctness_preferred": rate_within(self.preferred_N, self.paired_N),
            "correctness_preferred_hard": rate_within(self.hard_N, self.paired_N),
            "margin": rate_within(self.margin_N, self.paired_N),
        }

    def score(self) -> Statistic:
        made = self.statistics()
        return lambda weights_RN: np.sum(
            [made[name](weights_RN) * share for name, share in TIES_WEIGHTS.items()], axis=0
        )


def ties_parts(items: Sequence[Item], rows: Sequence[Array]) -> TiesParts:
    """The pieces of the Ties score under one ordering of the replies."""
    kinds = np.array([item["tie_kind"] for item in items], dtype=object)
    margins_N, spreads_N, refs_N = (np.full(len(items), np.nan) for _ in range(3))
    for place, (item, row) in enumerate(zip(items, rows, strict=True)):
        if item["tie_kind"] is not None:
            right, wrong = np.split(row, [int(item["num_correct"])])
            margins_N[place], spreads_N[place] = right.min() - wrong.max(), right.max() - right.min()
    ref_margins = {item["tie_number"]: margins_N[i] for i, item in enumerate(items) if item["tie_kind"] == "ref"}
    for place, item in enumerate(items):
        if item["tie_kind"] == "tied":
            refs_N[place] = ref_margins.get(item["tie_number"], np.nan)
    smaller_N = np.minimum(margins_N, refs_N)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios_N = np.tanh(smaller_N / spreads_N - 1)
    tied_N = kinds == "tied"
    return TiesParts(
        margins_N > 0,
        margins_N > spreads_N,
        smaller_N > spreads_N,
        np.nan_to_num(ratios_N, nan=0.0),
        tied_N,
        kinds == "ref",
        tied_N & ~np.isnan(refs_N),
    )


def _best_of(credits: Mapping[str, Array], chances_N: Array, members_N: Array) -> Measure:
    return part_measure(credits, members_N, float(chances_N[members_N].mean()) if members_N.any() else None)


def _ties_measure(statistics: Mapping[str, Statistic], members_N: Array) -> Measure:
    baselines = dict(statistics)
    return Measure(baselines.pop("model"), baselines, members_N=members_N)


def _sizes(items: Sequence[Item]) -> dict[str, int]:
    """How many prompts outside Ties have how many replies; four by the rule."""
    sizes = [len(item["scores"]) for item in items if item["subset"] != TIES]
    return {str(size): sizes.count(size) for size in sorted(set(sizes))}
