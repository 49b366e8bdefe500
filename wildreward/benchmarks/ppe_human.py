"""PPE human preference: which of two replies people of Chatbot Arena preferred (Frick et al. 2024, arXiv 2410.14872).

Data lmarena-ai/PPE-Human-Preference-V1, `test`. Fields: question_id, model_a, model_b, winner (model_a, model_b, tie,
tie (bothbad)), prompt, response_1, response_2, language, is_code, hard_prompt, easy_prompt, if_prompt, math_prompt,
...
Rules, as in the paper (section 4) and lmarena/PPE: `accuracy` over the pairs that people decided; a human tie belongs
to no accuracy and is counted as `human_tie`; a tie of the model is wrong. Categories are those of the repository: a
pair may belong to several, so that `mean_of_categories` is no official number. The paper's metrics of model rankings
(Spearman, Kendall, separability, Brier score of Arena ratings) rank the twenty chat models and not replies; they are
not computed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wildreward.benchmarks.evaluation_set import Item, SetResult, as_text
from wildreward.benchmarks.measure import MeasureOptions, measure_all
from wildreward.benchmarks.pairs import Pairs
from wildreward.benchmarks.parts import CHANCE, coverage, mean_of, minimum_of, pair_hits, part_measure
from wildreward.scorer import Conversation

TOTAL = 16038
"""Rows of the official file, human ties included."""

FLAGS = ("hard_prompt", "easy_prompt", "if_prompt", "math_prompt", "is_code")
LANGUAGES = ("english", "chinese", "non_english")
CATEGORIES = (*FLAGS, *LANGUAGES)
HUMAN_TIE = "human_tie"


class PPEHuman(Pairs):
    kind = "ppe-human"
    needs = ("question_id", "prompt", "response_1", "response_2", "winner")
    shown = ("accuracy", "mean_of_categories", "worst_category", "accuracy_when_shorter_is_better", "ece")

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        name = as_text(values.get("question_id")) or str(row)
        named = {key: as_text(values.get(key)) for key in ("model_a", "model_b", "winner", "language")}
        item = {"id": name, "subset": "all", "group": name, "user": None, **named}
        return item | {flag: values.get(flag) is True for flag in FLAGS} | _languages(named["language"])

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        winner, first, second = values["winner"], values["response_1"], values["response_2"]
        if isinstance(winner, str) and winner.startswith("tie"):
            return {}, HUMAN_TIE
        if winner not in ("model_a", "model_b"):
            return {}, "winner_not_model_a_or_model_b_or_tie"
        chosen, rejected = (first, second) if winner == "model_a" else (second, first)
        return super().replies({"prompt": values["prompt"], "chosen": chosen, "rejected": rejected})

    def measure(self, options: MeasureOptions) -> SetResult:
        result = super().measure(options)
        hits = pair_hits(self, options.seed)
        parts = {category: part_measure(hits, self.column(category).astype(bool)) for category in CATEGORIES}
        there = [part for part in parts.values() if part.members_N is not None and part.members_N.any()]
        measures = {f"\t{name}": part for name, part in parts.items()}
        if there:
            measures |= {"mean_of_categories": mean_of(there, chance=CHANCE), "worst_category": minimum_of(there)}
        made = measure_all(measures, self.groups(options), options)
        subsets = {name: {"accuracy": made.pop(f"\t{name}")} for name in parts}
        found = coverage(self.items, "subset", {"all": TOTAL}, left_out=[HUMAN_TIE])
        extra = dict(result.extra) | {"official": found.to_dict()}
        return replace(result, metrics=result.metrics | made, subsets=subsets, extra=extra, notes=found.notes())


def _languages(language: str | None) -> dict[str, bool]:
    return dict(zip(LANGUAGES, (language == "English", language == "Chinese", language != "English"), strict=True))
