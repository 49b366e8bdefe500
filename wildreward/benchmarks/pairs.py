"""Preference pairs: `prompt` (messages or a string), `chosen`, `rejected`; `id` and `subset` if there are any.

Rule: a pair is right when the chosen reply scores strictly higher; a tie counts as wrong, as in RewardBench
(Lambert et al. 2024, arXiv 2403.13787). `macro_accuracy` is the mean over subsets, `min_subset_accuracy` the lowest of
them: of each resample the lowest, so that its interval is that of the minimum. Subsets of fewer than MIN_GROUPS groups
are no candidates for it and are named in `extra.subsets_too_small`; `extra.min_subset` names the one that was lowest.
Everything else that is measured of pairs: wildreward/benchmarks/pair_measures.py and bias_measures.py.
Baselines: length (the longer reply in characters is better, equal lengths are wrong) and random (a coin per pair).
The bootstrap draws pairs, or the values of a column `group` where there is one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from wildreward.benchmarks.evaluation_set import EvaluationSet, Item, SetResult, as_prompt, as_text, reply_to
from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics
from wildreward.benchmarks.pair_columns import CHANCE, PairColumns, ReplyColumns
from wildreward.benchmarks.pair_measures import accuracy_of, decisions, measure_pairs
from wildreward.bootstrap import MIN_GROUPS
from wildreward.metrics import Array, lowest_rate, mean_of_rates
from wildreward.scorer import Conversation


class Pairs(EvaluationSet):
    kind = "pairs"
    needs: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        name = as_text(values.get("id")) or str(row)
        return {
            "id": name,
            "subset": as_text(values.get("subset")) or "all",
            "group": as_text(values.get("group")) or name,
            "user": as_text(values.get("user")),
        }

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        prompt = as_prompt(values["prompt"])
        if prompt is None:
            return {}, "malformed_prompt"
        made = {role: reply_to(prompt, values[role]) for role in ("chosen", "rejected")}
        sound = {role: messages for role, messages in made.items() if messages is not None}
        return sound, None if len(sound) == len(made) else "empty_response"

    def pair_columns(self) -> PairColumns:
        return PairColumns(*(ReplyColumns.of(self.scored, suffix) for suffix in ("_chosen", "_rejected")))

    def measure(self, options: MeasureOptions) -> SetResult:
        pairs = self.pair_columns()
        for item, margin in zip(self.scored, pairs.margin.tolist(), strict=True):
            item |= {"margin": margin, "correct": margin > 0}
        groups_N, subsets_N = self.groups(options), self.column("subset")
        hits = decisions(pairs, options.seed).hits
        over_subsets, named = subset_measures(hits, subsets_N, groups_N)
        by_subset = {f"\t{name}": accuracy_of(hits, subsets_N == name) for name in np.unique(subsets_N).tolist()}
        metrics, extra = measure_pairs(pairs, groups_N, options, over_subsets | by_subset)
        subsets: dict[str, Metrics] = {key[1:]: {"accuracy": metrics.pop(key)} for key in by_subset}
        extra = {"direction_of_length": "longer is better", **named, **extra}
        return SetResult(metrics, ("accuracy",), subsets if len(subsets) > 1 else {}, extra)


def subset_measures(
    hits: Mapping[str, Array], subsets_N: Array, groups_N: Array
) -> tuple[dict[str, Measure], dict[str, Any]]:
    """Mean and minimum of the accuracy over subsets, where there is more than one, and which subset is the lowest."""
    subsets = np.unique(subsets_N).tolist()
    if len(subsets) == 1:
        return {}, {}
    macro = {name: mean_of_rates(hit_N, subsets_N) for name, hit_N in hits.items()}
    measures = {"macro_accuracy": Measure(macro.pop("model"), macro, CHANCE)}
    small = [name for name in subsets if len(np.unique(groups_N[subsets_N == name])) < MIN_GROUPS]
    candidates = [name for name in subsets if name not in small]
    if not candidates:
        return measures, {"min_subset": None, "subsets_too_small": small}
    members_N = np.isin(subsets_N, candidates)
    lowest = {name: lowest_rate(hit_N, subsets_N, candidates) for name, hit_N in hits.items()}
    measures["min_subset_accuracy"] = Measure(lowest.pop("model"), lowest, members_N=members_N)
    worst = min(candidates, key=lambda name: hits["model"][subsets_N == name].mean())
    return measures, {"min_subset": worst, "subsets_too_small": small}
