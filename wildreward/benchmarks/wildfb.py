"""WildFB rows: `messages` ending with the judged reply, and its class `label` in 1..C (schema.WILDFB).

Rules. `mae`: |expected score - class|. `accuracy`, `recall_*`, `quadratic_kappa`: of the predicted class
1 + sum_k [P(class > k) > 1/2], the median of the class distribution (CORAL, arXiv 1901.07884).
`ece`: confidence of the likeliest class against its being right; `ece_above_k`: P(class > k) against class > k.
`pairwise_accuracy`: over all pairs of rows of different class, the higher class has the higher score, ties count half.
`auc`: the same between the good classes (upper half, 3 and 4) and the bad ones, across prompts.
Baselines: length in characters (longer is better) and random scores for rankings; for class metrics `random` deals the
model's own predictions to the rows at random, and `constant` is the best single answer, known from the labels.
The bootstrap draws conversations.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wildreward.benchmarks.evaluation_set import EvaluationSet, Item, SetResult, as_number, as_text
from wildreward.benchmarks.measure import Measure, MeasureOptions, measure_all
from wildreward.metrics import (
    Array,
    concordance,
    expected_calibration_error,
    mean,
    quadratic_kappa,
    rate_within,
    spearman,
)
from wildreward.scorer import Conversation, problem_of


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
        num_classes = len(self.scored[0]["probs"])
        for item in self.scored:
            if item["label"] > num_classes:
                item["skipped"] = "label_out_of_range"
            else:
                item["predicted"] = 1 + int((_above(np.array([item["probs"]])) > 1 / 2).sum())
        self.require_scored()
        labels_N = self.column("label")
        groups_N = self.groups(options)
        measures = self._classes(num_classes, options) | self._rankings(num_classes, options.seed)
        confusion_CC = np.zeros((num_classes, num_classes), dtype=int)
        np.add.at(confusion_CC, (labels_N - 1, self.column("predicted") - 1), 1)
        extra = {
            "confusion": confusion_CC.tolist(),
            "confusion_axes": "rows: class; columns: predicted class",
            "direction_of_length": "longer is better",
        }
        headline = ("pairwise_accuracy", "auc") if len(np.unique(labels_N)) > 1 else ("mae",)
        return SetResult(measure_all(measures, groups_N, options), headline, extra=extra)

    def _classes(self, num_classes: int, options: MeasureOptions) -> dict[str, Measure]:
        """Metrics of scores and probabilities read as classes."""
        labels_N, scores_N, predicted_N = self.column("label"), self.column("score"), self.column("predicted")
        probs_NC = np.stack([np.array(item["probs"]) for item in self.scored])
        dealt = np.random.default_rng(options.seed).permutation(len(labels_N))
        classes_C = np.arange(1, num_classes + 1)
        median, mode = (
            float(np.median(labels_N)),
            classes_C[np.bincount(labels_N, minlength=num_classes + 1)[1:].argmax()],
        )
        errors = {"random": mean(abs(scores_N[dealt] - labels_N)), "constant": mean(abs(median - labels_N))}
        hits = {"random": mean(predicted_N[dealt] == labels_N), "constant": mean(mode == labels_N)}
        kappa = {"random": quadratic_kappa(labels_N, predicted_N[dealt])}
        right_N = probs_NC.argmax(1) + 1 == labels_N
        measures = {
            "mae": Measure(mean(abs(scores_N - labels_N)), errors, higher_is_better=False),
            "quadratic_kappa": Measure(quadratic_kappa(labels_N, predicted_N), kappa, chance=0.0),
            "accuracy": Measure(mean(predicted_N == labels_N), hits),
            "ece": Measure(expected_calibration_error(probs_NC.max(1), right_N, options.bins), higher_is_better=False),
        }
        for k in classes_C.tolist():
            members_N = labels_N == k
            measures[f"recall_{k}"] = Measure(rate_within(predicted_N == k, members_N), members_N=members_N)
        above_NK = _above(probs_NC)
        for k in range(1, num_classes):
            error = expected_calibration_error(above_NK[:, k - 1], labels_N > k, options.bins)
            measures[f"ece_above_{k}"] = Measure(error, higher_is_better=False)
        return measures

    def _rankings(self, num_classes: int, seed: int) -> dict[str, Measure]:
        """Metrics of the scores' order alone."""
        labels_N = self.column("label")
        columns = {"model": self.column("score"), "length": self.column("chars")}
        columns["random"] = np.random.default_rng(seed).random(len(labels_N))
        good_N = labels_N > num_classes / 2
        measures = {}
        for name, build, levels_N, chance in (
            ("spearman", spearman, labels_N, 0.0),
            ("pairwise_accuracy", concordance, labels_N, 0.5),
            ("auc", concordance, good_N, 0.5),
        ):
            made = {who: build(values_N, levels_N) for who, values_N in columns.items()}
            measures[name] = Measure(made.pop("model"), made, chance)
        measures["score_length_spearman"] = Measure(spearman(columns["model"], columns["length"]))
        return measures


def _class_of(label: Any) -> int | None:
    number = as_number(label)
    return int(number) if number is not None and number >= 1 and number == int(number) else None


def _above(probs_NC: Array) -> Array:
    """P(class > k), (N, C - 1)."""
    return np.asarray(probs_NC[:, ::-1].cumsum(1)[:, ::-1][:, 1:])
