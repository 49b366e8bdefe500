"""Rows apart, what a checkpoint says of them, and its calibration fitted and measured on them: for `train` and the
stage `calibrate`.

    found = calibrated("coral", rows, cutpoints, MeasureOptions())
    found.calibration.to_config(), found.metrics["ece_above_1"].estimate

Errors and likelihoods `after` are cross-fitted (wildreward/calibration_fit.py); rankings and margins are of the scores
that the stored parameters give, and of the trained ones where there is no calibration.
Shapes: N rows, K thresholds, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from wildreward.benchmarks.class_measures import (
    before_and_after,
    calibration_errors,
    margin_curves,
    ranking_measures,
    reliability_curves,
)
from wildreward.benchmarks.curves import Curve, measure_with_curves, score_histogram
from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics
from wildreward.calibration import Calibration, none
from wildreward.calibration_fit import Fitted, fit, row_nll
from wildreward.metrics import Array, mean
from wildreward.ordinal import HeadKind, decode


@dataclass(frozen=True)
class Rows:
    """`logits_NK` are the head's own, (f - c_k) for coral; `rows_are` says in words which rows these are."""

    logits_NK: Array
    labels_N: Array
    conversations: Sequence[str]
    rows_are: str


@dataclass(frozen=True)
class Calibrated:
    """A calibration with what was measured of it; `metrics` have the baseline "before" where there is one."""

    calibration: Calibration
    rows: Rows
    metrics: Metrics
    curves: Mapping[str, Any]
    histogram: Mapping[str, Any]
    options: MeasureOptions

    @property
    def thresholds(self) -> int:
        return int(self.rows.logits_NK.shape[1])


def calibrated(
    head: HeadKind, rows: Rows, cutpoints: Sequence[float] | None, options: MeasureOptions, skip: str | None = None
) -> Calibrated:
    """Fit on the rows and measure; with `skip`, a reason not to fit, measure alone."""
    if skip is None:
        fitted = fit(head, rows.logits_NK, rows.labels_N, rows.conversations, cutpoints, rows_are=rows.rows_are)
    else:
        fitted = Fitted(none(skip))
    metrics, curves, histogram = _measured(head, rows, fitted, options)
    return Calibrated(_with_errors(fitted.calibration, metrics), rows, metrics, curves, histogram, options)


def _measured(
    head: HeadKind, rows: Rows, fitted: Fitted, options: MeasureOptions
) -> tuple[Metrics, dict[str, Any], dict[str, Any]]:
    labels_N, raw_NK = rows.labels_N, rows.logits_NK
    classes = raw_NK.shape[1] + 1
    raw_NC = _decoded(head, raw_NK)[0]
    probs_NC, before_NC = raw_NC, None
    if fitted.crossed is not None:
        probs_NC, before_NC = _decoded(head, fitted.crossed)[0], raw_NC
    scores_N = _decoded(head, raw_NK if fitted.own is None else fitted.own)[1]
    measures = {"nll": _nll(head, rows, fitted.crossed)}
    measures |= calibration_errors(probs_NC, labels_N, options.bins, before_NC)
    measures |= ranking_measures({"model": scores_N}, labels_N, classes)
    curves: dict[str, Curve] = margin_curves(scores_N, labels_N, options)
    if before_NC is None:
        of_all = reliability_curves(probs_NC, labels_N, options.bins)
        curves["reliability_of_thresholds"] = of_all["reliability_of_thresholds"]
    else:
        curves |= before_and_after(probs_NC, labels_N, options.bins, before_NC)
    metrics, made = measure_with_curves(measures, curves, np.asarray(rows.conversations), options)
    return metrics, made, score_histogram(scores_N, labels_N, "class")


def _nll(head: HeadKind, rows: Rows, crossed_NK: Array | None) -> Measure:
    before = mean(row_nll(head, rows.logits_NK, rows.labels_N))
    if crossed_NK is None:
        return Measure(before, higher_is_better=False)
    return Measure(mean(row_nll(head, crossed_NK, rows.labels_N)), {"before": before}, higher_is_better=False)


def _decoded(head: HeadKind, logits_NK: Array) -> tuple[Array, Array]:
    """(N, C) probabilities and (N,) scores."""
    found = decode(head, torch.tensor(logits_NK))
    return found.probs_BC.double().numpy(), found.score_B.double().numpy()


def _with_errors(found: Calibration, metrics: Metrics) -> Calibration:
    """With the calibration error of each threshold before and after, for config.json."""
    if found.method == "none":
        return found
    above = [metric for name, metric in metrics.items() if name.startswith("ece_above_")]
    errors = {
        "before": [metric.baselines["before"].estimate.value for metric in above],
        "after": [metric.estimate.value for metric in above],
    }
    return replace(found, facts={**found.facts, "ece_above": errors})
