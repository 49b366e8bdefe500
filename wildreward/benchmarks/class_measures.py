"""What is measured of class probabilities and of scores against classes 1..C, whoever made them.

Evaluation sets of classes (wildfb.py) and the reports of `train` and `calibrate` share these. Where a model was
calibrated, `before` are its probabilities without that: a baseline on the same resamples, and curves beside.

Shapes: N rows, C classes, P pairs of rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from wildreward.benchmarks.curves import Curve, Point, by_bin_of, by_coverage, reliability
from wildreward.benchmarks.measure import Measure, MeasureOptions
from wildreward.metrics import Array, Statistic, concordance, expected_calibration_error, mean, spearman

LEAST_PROBABILITY = 1e-7
MOST_PAIRS = 2000

BEFORE, AFTER = "before calibration", "after"


def probability_measures(
    probs_NC: Array, labels_N: Array, options: MeasureOptions, before_NC: Array | None = None
) -> dict[str, Measure]:
    """Calibration errors and proper scores of the class probabilities."""
    is_class_NC = labels_N[:, None] == np.arange(1, probs_NC.shape[1] + 1)
    constant_NC = np.broadcast_to(is_class_NC.mean(0), probs_NC.shape)
    dealt_NC = np.random.default_rng(options.seed).permutation(probs_NC)
    others = {"random": dealt_NC, "constant": constant_NC} | ({} if before_NC is None else {"before": before_NC})
    measures = {}
    for name, loss in (("brier", _brier), ("ranked_probability_score", _ranked), ("log_loss", _log_loss)):
        beside = {who: mean(loss(found_NC, is_class_NC)) for who, found_NC in others.items()}
        measures[name] = Measure(mean(loss(probs_NC, is_class_NC)), beside, higher_is_better=False)
    return measures | calibration_errors(probs_NC, labels_N, options.bins, before_NC)


def calibration_errors(
    probs_NC: Array, labels_N: Array, bins: int, before_NC: Array | None = None
) -> dict[str, Measure]:
    """ece of the likeliest class, ece_class_k of each class, ece_above_k of each threshold."""
    measures = {}
    told = () if before_NC is None else forecasts(before_NC, labels_N)
    before = {name: expected_calibration_error(confidence_N, hits_N, bins) for name, confidence_N, hits_N in told}
    for name, confidence_N, hits_N in forecasts(probs_NC, labels_N):
        error = expected_calibration_error(confidence_N, hits_N, bins)
        beside = {"before": before[name]} if name in before else {}
        measures[name] = Measure(error, beside, higher_is_better=False)
    return measures


def forecasts(probs_NC: Array, labels_N: Array) -> Iterator[tuple[str, Array, Array]]:
    """Name of the calibration error, probability, and whether it came true."""
    yield "ece", probs_NC.max(1), probs_NC.argmax(1) + 1 == labels_N
    for k, probs_N in enumerate(probs_NC.T, start=1):
        yield f"ece_class_{k}", probs_N, labels_N == k
    for k, above_N in enumerate(above(probs_NC).T, start=1):
        yield f"ece_above_{k}", above_N, labels_N > k


def reliability_curves(probs_NC: Array, labels_N: Array, bins: int, before_NC: Array | None = None) -> dict[str, Curve]:
    """Reliability of the likeliest class, the classes and the thresholds; with `before_NC` one more curve for each
    threshold, before and after."""
    curves: dict[str, Curve] = {}
    for name, confidence_N, hits_N in forecasts(probs_NC, labels_N):
        what, _, k = name.rpartition("_")
        curve, series = {
            "": ("reliability_of_likeliest_class", "model"),
            "ece_class": ("reliability_of_classes", f"class {k}"),
            "ece_above": ("reliability_of_thresholds", f"class > {k}"),
        }[what]
        curves.setdefault(curve, {})[series] = reliability(confidence_N, hits_N, bins)
    return curves | ({} if before_NC is None else before_and_after(probs_NC, labels_N, bins, before_NC))


def before_and_after(probs_NC: Array, labels_N: Array, bins: int, before_NC: Array) -> dict[str, Curve]:
    """reliability_above_k of each threshold, before calibration and after."""
    both = zip(above(before_NC).T, above(probs_NC).T, strict=True)
    return {
        f"reliability_above_{k}": {
            name: reliability(found_N, labels_N > k, bins) for name, found_N in ((BEFORE, before_N), (AFTER, after_N))
        }
        for k, (before_N, after_N) in enumerate(both, start=1)
    }


def ranking_measures(columns: Mapping[str, Array], labels_N: Array, num_classes: int) -> dict[str, Measure]:
    """Metrics of the order alone of the columns, "model" and its baselines: spearman, pairwise_accuracy across classes,
    and auc of good classes (the upper half) against bad ones, over all rows whatever their prompts."""
    measures = {}
    for name, build, levels_N, chance in (
        ("spearman", spearman, labels_N, 0.0),
        ("pairwise_accuracy", concordance, labels_N, 0.5),
        ("auc", concordance, labels_N > num_classes / 2, 0.5),
    ):
        made = {who: build(values_N, levels_N) for who, values_N in columns.items()}
        measures[name] = Measure(made.pop("model"), made, chance)
    return measures


def margin_curves(scores_N: Array, labels_N: Array, options: MeasureOptions) -> dict[str, Curve]:
    """accuracy_by_margin and accuracy_by_coverage of pairs of rows of different classes: is the reply of the higher
    class the one with the higher score, and does the margin know? Empty where all rows are of one class.

    A resample that holds row i a times and row j b times holds their pair a * b times. `count` is of pairs.
    Source: WildReward, arXiv 2602.08829.
    """
    better_P, worse_P = row_pairs(labels_N, options.seed)
    if not len(better_P):
        return {}
    margin_P = scores_N[better_P] - scores_N[worse_P]
    points = {
        "accuracy_by_margin": by_bin_of(np.abs(margin_P), margin_P > 0, options.bins),
        "accuracy_by_coverage": by_coverage(np.abs(margin_P), margin_P > 0, options.bins),
    }
    return {
        name: {"model": [_over_rows(point, better_P, worse_P, len(labels_N)) for point in found]}
        for name, found in points.items()
    }


def row_pairs(labels_N: Array, seed: int, most: int = MOST_PAIRS) -> tuple[Array, Array]:
    """(P,) places of the rows of higher and of lower class: all pairs of different class, or `most` drawn of them.

    >>> [places.tolist() for places in row_pairs(np.array([1, 3, 1]), seed=0)]
    [[1, 1], [0, 2]]
    """
    count = len(labels_N)
    if count * (count - 1) // 2 <= most:
        first, second = np.triu_indices(count, k=1)
    else:
        first, second = np.random.default_rng(seed).integers(count, size=(2, 8 * most))
    differ = labels_N[first] != labels_N[second]
    first, second = first[differ][:most], second[differ][:most]
    higher = labels_N[first] > labels_N[second]
    return np.where(higher, first, second), np.where(higher, second, first)


def _over_rows(point: Point, better_P: Array, worse_P: Array, count: int) -> Point:
    """A point about pairs as one about the rows in them, which are what is resampled."""
    members_P = np.ones(len(better_P), dtype=bool) if point.measure.members_N is None else point.measure.members_N
    members_N = np.zeros(count, dtype=bool)
    members_N[better_P[members_P]] = members_N[worse_P[members_P]] = True
    measure = replace(point.measure, model=_of_pairs(point.measure.model, better_P, worse_P), members_N=members_N)
    return Point(point.x, measure, {**point.facts, "count": int(members_P.sum())})


def _of_pairs(statistic: Statistic, better_P: Array, worse_P: Array) -> Statistic:
    return lambda weights_RN: statistic(weights_RN[:, better_P] * weights_RN[:, worse_P])


def above(probs_NC: Array) -> Array:
    """P(class > k), (N, C - 1).

    >>> above(np.array([[0.25, 0.25, 0.5]])).tolist()
    [[0.75, 0.5]]
    """
    return np.asarray(probs_NC[:, ::-1].cumsum(1)[:, ::-1][:, 1:])


def _brier(probs_NC: Array, is_class_NC: Array) -> Array:
    return np.asarray(((probs_NC - is_class_NC) ** 2).sum(1))


def _ranked(probs_NC: Array, is_class_NC: Array) -> Array:
    return _brier(above(probs_NC), above(is_class_NC.astype(float)))


def _log_loss(probs_NC: Array, is_class_NC: Array) -> Array:
    return np.asarray(-np.log(np.maximum(probs_NC[is_class_NC], LEAST_PROBABILITY)))
