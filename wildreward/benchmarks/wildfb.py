"""WildFB rows: `messages` ending with the judged reply, and its class `label` in 1..C (schema.WILDFB).

Rules. `mae`: |expected score - class|. `accuracy`, `recall_*`, `quadratic_kappa`: of the predicted class
1 + sum_k [P(class > k) > 1/2], the median of the class distribution (CORAL, arXiv 1901.07884).
`ece`: confidence of the likeliest class against its being right (Guo et al. 2017); `ece_class_k`: P(class = k) against
class = k (Kull et al. 2019, classwise ECE); `ece_above_k`: P(class > k) against class > k, the three things trained.
`brier`: sum over classes of (P(class) - [class])^2 (Brier 1950, 0..2); `ranked_probability_score`: sum over k of
(P(class > k) - [class > k])^2 (Epstein 1969), which counts how far off; `log_loss`: -ln P(class), where probabilities
below 1e-7, the resolution of single precision, count as 1e-7. Their baseline `constant` is the classes' frequencies;
that of every error and score of probabilities is also `before`: the same model without its calibration, if it has one.
`pairwise_accuracy`: over all pairs of rows of different class, the higher class has the higher score, ties count half.
`auc`: the same between the good classes (upper half, 3 and 4) and the bad ones, across prompts.
A scorer without class probabilities, such as a scalar reward model, is measured by its order alone: the rankings.
Baselines: length in characters (longer is better) and random scores for rankings; for class metrics `random` deals the
model's own predictions to the rows at random, and `constant` is the best single answer, known from the labels.
`accuracy_by_margin`, `accuracy_by_coverage`: pairs of rows of different class, the prompts whatever they are.
The bootstrap draws conversations.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wildreward.benchmarks.class_measures import (
    above,
    margin_curves,
    probability_measures,
    ranking_measures,
    reliability_curves,
)
from wildreward.benchmarks.curves import Curve, by_level, measure_with_curves, score_histogram
from wildreward.benchmarks.evaluation_set import EvaluationSet, Item, SetResult, as_number, as_text
from wildreward.benchmarks.measure import Measure, MeasureOptions
from wildreward.benchmarks.pair_columns import ReplyColumns
from wildreward.metrics import Array, mean, quadratic_kappa, rate_within, spearman
from wildreward.scale import FOUR_CLASSES
from wildreward.scorer import Conversation, problem_of

CLASSES = max(FOUR_CLASSES.values())


class WildFB(EvaluationSet):
    kind = "wildfb"
    whole = True
    needs = ("messages", "label")

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        conversation = as_text(values.get("conversation_hash"))
        named = {name: as_text(values.get(name)) for name in ("turn", "user", "language", "source", "judge")}
        return {
            "id": as_text(values.get("id")) or str(row),
            "conversation_hash": conversation,
            "group": conversation or str(row),
            **named,
            "label": _class_of(values.get("label")),
        }

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        if _class_of(values["label"]) is None:
            return {}, "label_out_of_range"
        problem = problem_of(values["messages"])
        return ({"reply": values["messages"]}, None) if problem is None else ({}, problem.reason)

    def measure(self, options: MeasureOptions) -> SetResult:
        classes = len(self.scored[0]["probs"]) if self.has_probs else max(CLASSES, *self.column("label").tolist())
        for item in self.scored:
            if item["label"] > classes:
                item["skipped"] = "label_out_of_range"
        self.require_scored()
        labels_N, scores_N = self.column("label"), self.column("score")
        measures = self._rankings(classes, options.seed)
        curves: dict[str, Curve] = {"score_by_class": {"model": by_level(labels_N, scores_N)}}
        curves |= margin_curves(scores_N, labels_N, options)
        extra: dict[str, Any] = {
            "direction_of_length": "longer is better",
            "histograms": {"score": score_histogram(scores_N, labels_N, "class")},
        }
        if self.has_probs:
            probs_NC, before_NC = np.array(self.column("probs"), dtype=float), self._before()
            probabilities = probability_measures(probs_NC, labels_N, options, before_NC)
            measures = self._classes(classes, options) | probabilities | measures
            curves |= reliability_curves(probs_NC, labels_N, options.bins, before_NC)
            extra |= self._confusion(classes)
        headline = ("pairwise_accuracy", "auc") if len(np.unique(labels_N)) > 1 or not self.has_probs else ("mae",)
        metrics, extra["curves"] = measure_with_curves(measures, curves, self.groups(options), options)
        return SetResult(metrics, headline, extra=extra)

    def _confusion(self, classes: int) -> dict[str, Any]:
        confusion_CC = np.zeros((classes, classes), dtype=int)
        np.add.at(confusion_CC, (self.column("label") - 1, self.column("predicted") - 1), 1)
        return {"confusion": confusion_CC.tolist(), "confusion_axes": "rows: class; columns: predicted class"}

    def _classes(self, num_classes: int, options: MeasureOptions) -> dict[str, Measure]:
        """Metrics of scores and probabilities read as classes."""
        for item in self.scored:
            item["predicted"] = 1 + int((above(np.array([item["probs"]])) > 1 / 2).sum())
        labels_N, scores_N, predicted_N = self.column("label"), self.column("score"), self.column("predicted")
        dealt = np.random.default_rng(options.seed).permutation(len(labels_N))
        median, mode = float(np.median(labels_N)), int(np.bincount(labels_N).argmax())
        errors = {"random": mean(abs(scores_N[dealt] - labels_N)), "constant": mean(abs(median - labels_N))}
        hits = {"random": mean(predicted_N[dealt] == labels_N), "constant": mean(labels_N == mode)}
        kappa = {"random": quadratic_kappa(labels_N, predicted_N[dealt])}
        measures = {
            "mae": Measure(mean(abs(scores_N - labels_N)), errors, higher_is_better=False),
            "quadratic_kappa": Measure(quadratic_kappa(labels_N, predicted_N), kappa, chance=0.0),
            "accuracy": Measure(mean(predicted_N == labels_N), hits),
        }
        for k in range(1, num_classes + 1):
            members_N = labels_N == k
            measures[f"recall_{k}"] = Measure(rate_within(predicted_N == k, members_N), members_N=members_N)
        return measures

    def _before(self) -> Array | None:
        """(N, C) probabilities before calibration, where the model was calibrated."""
        return np.array(self.column("raw_probs"), dtype=float) if self.scored[0].get("raw_probs") else None

    def _rankings(self, num_classes: int, seed: int) -> dict[str, Measure]:
        """Metrics of the scores' order alone."""
        columns = {"model": self.column("score"), "length": self.column("chars")}
        columns["random"] = np.random.default_rng(seed).random(len(columns["model"]))
        measures = ranking_measures(columns, self.column("label"), num_classes)
        replies = ReplyColumns.of(self.scored)
        for name, values_N in (("length", replies.chars_N), ("formatting", replies.formats["formatting"])):
            measures[f"score_{name}_spearman"] = Measure(spearman(replies.score_N, values_N))
        return measures


def _class_of(label: Any) -> int | None:
    number = as_number(label)
    return int(number) if number is not None and number >= 1 and number == int(number) else None
