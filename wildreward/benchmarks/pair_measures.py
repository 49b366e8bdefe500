"""What is measured of preference pairs, whichever set they come from: accuracy, confidence, calibration.

    accuracy               the better reply scores strictly higher; a tie counts as wrong
    cross_sample_auc       P(the better reply of one pair scores above the worse one of another); a tie is half
    confidence_auc         P(a right decision has a larger |margin| than a wrong one): does the margin know?
    risk_coverage_area     area under the risk-coverage curve when pairs are answered in the order of |margin|
                           (wildreward/selective.py). Baselines: length decides, by the difference in length; random;
                           constant: the model's own answers in any order, that is, its error rate
    ece                    of the preference probability p = sigmoid(score A - score B). Symmetric: a pair asked in both
                           orders says p and 1 - p, whose bins mirror each other, so the ECE over both orders is that of
                           the preferred side's probability (>= 1/2) against its being right. A tie says 1/2 and is half
                           right. A bin is (low, high], `bins` of equal width over 0..1, so half of them are in use
                           (of an odd number the middle one would cancel itself over both orders; here it counts)
    brier, log_loss        (1 - p)^2 and -ln p of the better reply's probability p (Brier 1950; Good 1952), the same in
                           both orders; constant is p = 1/2: 0.25 and 0.693

Curves: accuracy_by_margin (bins of equally many pairs), accuracy_by_coverage (the most confident share), reliability.
Scores may be unbounded: sigmoid(margin) is then the Bradley-Terry probability of a model trained with that loss.
Length and format bias: wildreward/benchmarks/bias_measures.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from wildreward.benchmarks.bias_measures import bias_measures
from wildreward.benchmarks.curves import (
    MARGIN_BINS,
    Curve,
    by_bin_of,
    by_coverage,
    histogram,
    measure_with_curves,
    reliability,
)
from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics
from wildreward.benchmarks.pair_columns import CHANCE, PairColumns
from wildreward.metrics import Array, concordance, cross_concordance, expected_calibration_error, mean, rate_within
from wildreward.position import swap_check
from wildreward.selective import risk_coverage_area


@dataclass(frozen=True)
class Decisions:
    """How sure the model and each baseline are of each pair, and whether they are right."""

    confidence: Mapping[str, Array]
    hits: Mapping[str, Array]


def decisions(pairs: PairColumns, seed: int) -> Decisions:
    """Of the model (by the margin), of length (by the difference in characters) and of a coin."""
    margin_N, longer_N = pairs.margin, pairs.longer_by
    coin_N = np.random.default_rng(seed).random(len(margin_N))
    return Decisions(
        {"model": np.abs(margin_N), "length": np.abs(longer_N), "random": np.abs(coin_N - CHANCE)},
        {"model": margin_N > 0, "length": longer_N > 0, "random": coin_N < CHANCE},
    )


def accuracy_of(hits: Mapping[str, Array], members_N: Array | None = None) -> Measure:
    """Accuracy of the model and its baselines, among the members alone where given."""
    rates = {name: mean(hit_N) if members_N is None else rate_within(hit_N, members_N) for name, hit_N in hits.items()}
    return Measure(rates.pop("model"), rates, CHANCE, members_N=members_N)


def measure_pairs(
    pairs: PairColumns, groups_N: Array, options: MeasureOptions, more: Mapping[str, Measure] | None = None
) -> tuple[Metrics, dict[str, Any]]:
    """Everything that is said of pairs, and `more` measures on the same resamples; then the facts: counts, position,
    curves and histograms, as plain values."""
    measures = pair_measures(pairs, options) | bias_measures(pairs) | dict(more or {})
    metrics, curves = measure_with_curves(measures, pair_curves(pairs, options), groups_N, options)
    facts = {"pairs": len(groups_N), "ties": int((pairs.margin == 0).sum()), "position": position(pairs)}
    return metrics, facts | {"curves": curves, "histograms": pair_histograms(pairs)}


def pair_measures(pairs: PairColumns, options: MeasureOptions) -> dict[str, Measure]:
    """The measures of the module's docstring."""
    made = decisions(pairs, options.seed)
    return {"accuracy": accuracy_of(made.hits)} | _rankings(pairs, made, options) | _calibration(pairs, options.bins)


def _rankings(pairs: PairColumns, made: Decisions, options: MeasureOptions) -> dict[str, Measure]:
    better, worse = pairs.better, pairs.worse
    aucs = {
        "model": cross_concordance(better.score_N, worse.score_N),
        "length": cross_concordance(better.chars_N, worse.chars_N),
        "random": cross_concordance(*np.random.default_rng(options.seed).random((2, len(pairs.margin)))),
    }
    knowing = {name: concordance(made.confidence[name], hit_N) for name, hit_N in made.hits.items()}
    areas = {name: risk_coverage_area(made.confidence[name], hit_N) for name, hit_N in made.hits.items()}
    areas["constant"] = mean(~made.hits["model"])
    return {
        "cross_sample_auc": Measure(aucs.pop("model"), aucs, CHANCE),
        "confidence_auc": Measure(knowing.pop("model"), knowing, CHANCE),
        "risk_coverage_area": Measure(areas.pop("model"), areas, higher_is_better=False),
    }


def preference(pairs: PairColumns) -> tuple[Array, Array]:
    """Probability of the preferred side, and whether it is right: 1, 0, or 1/2 for a tie."""
    margin_N = pairs.margin
    return expit(np.abs(margin_N)), (1 + np.sign(margin_N)) / 2


def _calibration(pairs: PairColumns, bins: int) -> dict[str, Measure]:
    margin_N = pairs.margin
    halves_N = np.full(len(margin_N), 1 / 2)
    # -ln sigmoid(margin) without overflow; for p = 1/2 it is ln 2.
    losses = {
        "brier": (expit(-margin_N) ** 2, halves_N**2),
        "log_loss": (np.logaddexp(0, -margin_N), -np.log(halves_N)),
    }
    measures = {"ece": Measure(expected_calibration_error(*preference(pairs), bins), higher_is_better=False)}
    for name, (model_N, even_N) in losses.items():
        measures[name] = Measure(mean(model_N), {"constant": mean(even_N)}, higher_is_better=False)
    return measures


def pair_curves(pairs: PairColumns, options: MeasureOptions) -> dict[str, Curve]:
    made = decisions(pairs, options.seed)
    right_N = made.hits["model"]
    return {
        "accuracy_by_margin": {"model": by_bin_of(made.confidence["model"], right_N, options.bins)},
        "accuracy_by_coverage": {
            name: by_coverage(made.confidence[name], hit_N, options.bins) for name, hit_N in made.hits.items()
        },
        "reliability": {"model": reliability(*preference(pairs), options.bins)},
    }


def pair_histograms(pairs: PairColumns) -> dict[str, Any]:
    """Scores of the better and the worse replies, and margins."""
    scores = {"better reply": pairs.better.score_N, "worse reply": pairs.worse.score_N}
    return {"score": histogram(scores), "margin": histogram({"margin": pairs.margin}, MARGIN_BINS, symmetric=True)}


def position(pairs: PairColumns) -> dict[str, Any]:
    """The decisions of these scores asked in both orders. Every reply was scored once, alone, so that its place in the
    pair cannot matter; the counts say that it did not."""
    asked = list(zip(range(len(pairs.margin)), pairs.better.score_N, pairs.worse.score_N, strict=True))
    found = swap_check(lambda given: expit([a - b for _, a, b in given]).tolist(), asked)
    return {"scored": "one reply at a time", **vars(found)}
