"""WildFB rows: `messages` ending with the judged reply, and its class `label` in 1..C (schema.WILDFB).

Rules. `mae`: |expected score - class|. `accuracy`, `recall_*`, `quadratic_kappa`: of the predicted class
1 + sum_k [P(class > k) > 1/2], the median of the class distribution (CORAL, arXiv 1901.07884).
`ece`: confidence of the likeliest class against its being right (Guo et al. 2017); `ece_class_k`: P(class = k) against
class = k (Kull et al. 2019, classwise ECE); `ece_above_k`: P(class > k) against class > k, the three things trained.
`brier`: sum over classes of (P(class) - [class])^2 (Brier 1950, 0..2); `ranked_probability_score`: sum over k of
(P(class > k) - [class > k])^2 (Epstein 1969), which counts how far off; `log_loss`: -ln P(class), where probabilities
below 1e-7, the resolution of single precision, count as 1e-7. Their baseline `constant` is the classes' frequencies.
`pairwise_accuracy`: over all pairs of rows of different class, the higher class has the higher score, ties count half.
`auc`: the same between the good classes (upper half, 3 and 4) and the bad ones, across prompts.
A scorer without class probabilities, such as a scalar reward model, is measured by its order alone: the rankings.
Baselines: length in characters (longer is better) and random scores for rankings; for class metrics `random` deals the
model's own predictions to the rows at random, and `constant` is the best single answer, known from the labels.
The bootstrap draws conversations.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wildreward.benchmarks.curves import Curve, by_level, measure_with_curves, reliability, score_histogram
from wildreward.benchmarks.evaluation_set import EvaluationSet, Item, SetResult, as_number, as_text
from wildreward.benchmarks.measure import Measure, MeasureOptions
from wildreward.benchmarks.pair_columns import ReplyColumns
from wildreward.metrics import (
    Array,
    concordance,
    expected_calibration_error,
    mean,
    quadratic_kappa,
    rate_within,
    spearman,
)
from wildreward.scale import FOUR_CLASSES
from wildreward.scorer import Conversation, problem_of

CLASSES = max(FOUR_CLASSES.values())
LEAST_PROBABILITY = 1e-7


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
        extra: dict[str, Any] = {
            "direction_of_length": "longer is better",
            "histograms": {"score": score_histogram(scores_N, labels_N, "class")},
        }
        if self.has_probs:
            measures = self._classes(classes, options) | self._probabilities(options) | measures
            curves |= self._reliability(options.bins)
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
            item["predicted"] = 1 + int((_above(np.array([item["probs"]])) > 1 / 2).sum())
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

    def _probabilities(self, options: MeasureOptions) -> dict[str, Measure]:
        """Calibration errors and proper scores of the class probabilities."""
        probs_NC = np.array(self.column("probs"), dtype=float)
        is_class_NC = self.column("label")[:, None] == np.arange(1, probs_NC.shape[1] + 1)
        constant_NC = np.broadcast_to(is_class_NC.mean(0), probs_NC.shape)
        dealt_NC = np.random.default_rng(options.seed).permutation(probs_NC)
        measures = {
            name: Measure(
                mean(loss(probs_NC, is_class_NC)),
                {"random": mean(loss(dealt_NC, is_class_NC)), "constant": mean(loss(constant_NC, is_class_NC))},
                higher_is_better=False,
            )
            for name, loss in (("brier", _brier), ("ranked_probability_score", _ranked), ("log_loss", _log_loss))
        }
        for name, confidence_N, hits_N in self._forecasts():
            error = expected_calibration_error(confidence_N, hits_N, options.bins)
            measures[name] = Measure(error, higher_is_better=False)
        return measures

    def _forecasts(self) -> Iterator[tuple[str, Array, Array]]:
        """Name of the calibration error, probability, and whether it came true."""
        probs_NC, labels_N = np.array(self.column("probs"), dtype=float), self.column("label")
        yield "ece", probs_NC.max(1), probs_NC.argmax(1) + 1 == labels_N
        for k, probs_N in enumerate(probs_NC.T, start=1):
            yield f"ece_class_{k}", probs_N, labels_N == k
        for k, above_N in enumerate(_above(probs_NC).T, start=1):
            yield f"ece_above_{k}", above_N, labels_N > k

    def _reliability(self, bins: int) -> dict[str, Curve]:
        curves: dict[str, Curve] = {}
        for name, confidence_N, hits_N in self._forecasts():
            what, _, k = name.rpartition("_")
            curve, series = {
                "": ("reliability_of_likeliest_class", "model"),
                "ece_class": ("reliability_of_classes", f"class {k}"),
                "ece_above": ("reliability_of_thresholds", f"class > {k}"),
            }[what]
            curves.setdefault(curve, {})[series] = reliability(confidence_N, hits_N, bins)
        return curves

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
        replies = ReplyColumns.of(self.scored)
        for name, values_N in (("length", replies.chars_N), ("formatting", replies.formats["formatting"])):
            measures[f"score_{name}_spearman"] = Measure(spearman(replies.score_N, values_N))
        return measures


def _class_of(label: Any) -> int | None:
    number = as_number(label)
    return int(number) if number is not None and number >= 1 and number == int(number) else None


def _brier(probs_NC: Array, is_class_NC: Array) -> Array:
    return np.asarray(((probs_NC - is_class_NC) ** 2).sum(1))


def _ranked(probs_NC: Array, is_class_NC: Array) -> Array:
    return _brier(_above(probs_NC), _above(is_class_NC.astype(float)))


def _log_loss(probs_NC: Array, is_class_NC: Array) -> Array:
    return np.asarray(-np.log(np.maximum(probs_NC[is_class_NC], LEAST_PROBABILITY)))


def _above(probs_NC: Array) -> Array:
    """P(class > k), (N, C - 1)."""
    return np.asarray(probs_NC[:, ::-1].cumsum(1)[:, ::-1][:, 1:])
