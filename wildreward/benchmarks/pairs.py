"""Preference pairs: `prompt` (messages or a string), `chosen`, `rejected`; `id` and `subset` if there are any.

Rule: a pair is right when the chosen reply scores strictly higher; a tie counts as wrong, as in RewardBench
(Lambert et al. 2024, arXiv 2403.13787). The preference probability is sigmoid(score chosen - score rejected); `ece` is
that of the preferred side's probability against its being right.
Baselines: length (the longer reply in characters is better, equal lengths are wrong) and random (a coin per pair).
The bootstrap draws pairs, or the values of a column `group` where there is one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from wildreward.benchmarks.evaluation_set import EvaluationSet, Item, SetResult, as_prompt, as_text, reply_to
from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics, measure_all
from wildreward.metrics import Array, expected_calibration_error, mean, mean_of_rates, rate_within
from wildreward.scorer import Conversation

CHANCE = 0.5


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

    def measure(self, options: MeasureOptions) -> SetResult:
        for item in self.scored:
            item["margin"] = item["score_chosen"] - item["score_rejected"]
            item["correct"] = item["margin"] > 0
        groups_N = self.groups(options)
        subsets_N, tables = self.column("subset"), self._hits(options.seed)
        measures = self._overall(tables, subsets_N, options.bins)
        by_subset = {f"\t{name}": _accuracy(tables, subsets_N == name) for name in np.unique(subsets_N).tolist()}
        metrics = measure_all(measures | by_subset, groups_N, options)
        subsets: dict[str, Metrics] = {key[1:]: {"accuracy": metrics.pop(key)} for key in by_subset}
        ties = int((self.column("margin") == 0).sum())
        extra = {"pairs": len(groups_N), "ties": ties, "direction_of_length": "longer is better"}
        return SetResult(metrics, ("accuracy",), subsets if len(subsets) > 1 else {}, extra)

    def _hits(self, seed: int) -> dict[str, Array]:
        """Which pairs the model and each baseline get right."""
        correct_N = self.column("correct")
        return {
            "model": correct_N,
            "length": self.column("chars_chosen") > self.column("chars_rejected"),
            "random": np.random.default_rng(seed).random(len(correct_N)) < CHANCE,
        }

    def _overall(self, hits: Mapping[str, Array], subsets_N: Array, bins: int) -> dict[str, Measure]:
        longer_N = hits["length"]
        shorter_N = self.column("chars_chosen") < self.column("chars_rejected")
        margin_N = self.column("margin")
        # The probability given to the pair's own order is symmetric: confidence is that of the preferred side.
        confidence_N, right_N = expit(np.abs(margin_N)), margin_N > 0
        macro = {name: mean_of_rates(hit_N, subsets_N) for name, hit_N in hits.items()}
        measures = {
            "accuracy": _accuracy(hits),
            "macro_accuracy": Measure(macro.pop("model"), macro, CHANCE),
            "ece": Measure(expected_calibration_error(confidence_N, right_N, bins), higher_is_better=False),
        }
        for name, members_N in (("longer", longer_N), ("shorter", shorter_N)):
            measure = Measure(rate_within(right_N, members_N), chance=CHANCE, members_N=members_N)
            measures[f"accuracy_when_{name}_is_better"] = measure
        if len(np.unique(subsets_N)) == 1:
            del measures["macro_accuracy"]
        return measures


def _accuracy(hits: Mapping[str, Array], members_N: Array | None = None) -> Measure:
    rates = {name: mean(hit_N) if members_N is None else rate_within(hit_N, members_N) for name, hit_N in hits.items()}
    return Measure(rates.pop("model"), rates, CHANCE, members_N=members_N)
