"""JudgeBench: pairs of which one reply is objectively right.

Tan et al. 2024, arXiv 2410.12784; data ScalerLab/JudgeBench.

Fields: pair_id, original_id, source, question, response_model, response_A, response_B, label ("A>B" or "B>A").
Rules, as in ScalerLab/JudgeBench: a reward model says A>B when the score of A is strictly higher and B>A otherwise
(utils/judges.py, judge `reward_model`), each pair is judged once (--single_game), and is right when that is the label
(utils/metrics.py). So a tie counts as B>A: `overall`, and one accuracy of each group of sources (run_judge.py:
mmlu-pro knowledge, livebench-reasoning, livebench-math, livecodebench coding). `accuracy` calls every tie wrong, as
elsewhere here; the two differ by `ties`. `mean_of_sources` is the unweighted mean of the four groups.
The pairs by GPT-4o and those by Claude are two splits (350 and 270); papers report the first.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from wildreward.benchmarks.evaluation_set import Item, SetResult, as_text
from wildreward.benchmarks.measure import MeasureOptions, measure_all
from wildreward.benchmarks.pairs import Pairs
from wildreward.benchmarks.parts import CHANCE, Coverage, coverage, mean_of, minimum_of, part_measure
from wildreward.scorer import Conversation

SOURCES = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}
"""First part of `source`, and the name of the group."""

LABELS = ("A>B", "B>A")
GPT_COUNTS = {"knowledge": 154, "reasoning": 98, "math": 56, "coding": 42}
CLAUDE_TOTAL = 270


class JudgeBench(Pairs):
    kind = "judgebench"
    needs = ("pair_id", "source", "question", "response_A", "response_B", "label")
    shown = ("overall", *SOURCES.values(), "mean_of_sources", "worst_source", "accuracy")

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        source = as_text(values.get("source")) or ""
        name = as_text(values.get("pair_id")) or str(row)
        group = next((group for start, group in SOURCES.items() if source.startswith(start)), f"source {source!r}")
        named = {key: as_text(values.get(key)) for key in ("source", "label", "response_model")}
        return {"id": name, "subset": group, "group": as_text(values.get("original_id")) or name, "user": None, **named}

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        if values["label"] not in LABELS:
            return {}, "label_not_A>B_or_B>A"
        first, second = values["response_A"], values["response_B"]
        chosen, rejected = (first, second) if values["label"] == LABELS[0] else (second, first)
        return super().replies({"prompt": values["question"], "chosen": chosen, "rejected": rejected})

    def measure(self, options: MeasureOptions) -> SetResult:
        result = super().measure(options)
        groups_N = self.column("subset")
        margins = {
            "model": self.column("margin"),
            "length": self.column("chars_chosen") - self.column("chars_rejected"),
            "random": np.random.default_rng(options.seed).random(len(groups_N)) - CHANCE,
        }
        ties_right_N = self.column("label") == LABELS[1]
        hits = {who: (margin_N > 0) | ((margin_N == 0) & ties_right_N) for who, margin_N in margins.items()}
        for item, hit in zip(self.scored, hits["model"], strict=True):
            item["official_correct"] = bool(hit)
        measures = {"overall": part_measure(hits, np.ones(len(groups_N), dtype=bool))}
        measures |= {group: part_measure(hits, groups_N == group) for group in SOURCES.values()}
        made = [measures[group] for group in SOURCES.values()]
        measures |= {"mean_of_sources": mean_of(made, chance=CHANCE), "worst_source": minimum_of(made)}
        found = self._coverage()
        metrics = measure_all(measures, self.groups(options), options) | result.metrics
        extra = dict(result.extra) | {"official": found.to_dict()}
        return replace(result, metrics=metrics, headline=("overall", "worst_source"), extra=extra, notes=found.notes())

    def _coverage(self) -> Coverage:
        """Of the split that is there; of Claude's only the size of the whole is known, and papers do not report it."""
        if all("claude" in str(item["response_model"]) for item in self.items):
            rows = coverage(self.items, "subset", {})
            return replace(rows, expected=dict(rows.rows), total=CLAUDE_TOTAL, reported=False)
        return coverage(self.items, "subset", GPT_COUNTS)
