"""Pairs of rows are resampled with their rows, and a model's calibration stands beside the model without it."""

import numpy as np
import pytest

from tests.wildreward.benchmarks.rows import wildfb_row
from tests.wildreward.benchmarks.sets import QUICK, made
from wildreward.benchmarks.class_measures import margin_curves, row_pairs
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.wildfb import WildFB
from wildreward.evaluation import Evaluation
from wildreward.evaluation_console import table_rows
from wildreward.evaluation_report import report_html
from wildreward.evaluation_report_pictures import pictures
from wildreward.reward_model import Score

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(1, 5, 30)
SCORES = LABELS + GENERATOR.normal(0, 1.5, 30)


def test_few_rows_give_all_their_pairs_and_many_a_sample_of_them() -> None:
    better_P, worse_P = row_pairs(LABELS, seed=0)
    counts = np.bincount(LABELS, minlength=5)
    assert len(better_P) == (30**2 - (counts**2).sum()) // 2
    assert (LABELS[better_P] > LABELS[worse_P]).all()
    many = GENERATOR.integers(1, 3, 5000)
    better_P, worse_P = row_pairs(many, seed=0)
    assert len(better_P) == 2000
    assert (many[better_P] > many[worse_P]).all()
    assert all(map(np.array_equal, row_pairs(many, seed=0), (better_P, worse_P)))


def test_a_row_that_is_drawn_twice_counts_its_pairs_twice() -> None:
    weights_N = np.ones(30)
    weights_N[:3] = (2, 0, 3)
    drawn = np.repeat(np.arange(30), weights_N.astype(int))
    options = MeasureOptions(bins=1)
    [point] = margin_curves(SCORES, LABELS, options)["accuracy_by_margin"]["model"]
    [again] = margin_curves(SCORES[drawn], LABELS[drawn], options)["accuracy_by_margin"]["model"]
    expected = again.measure.model(np.ones((1, len(drawn))))
    assert point.measure.model(weights_N[None]) == pytest.approx(expected)


def test_one_class_has_no_margins() -> None:
    assert margin_curves(SCORES, np.ones(30, dtype=int), MeasureOptions()) == {}


def calibrated_set() -> EvaluationSet:
    """Forty rows; after calibration the probabilities are the classes' frequencies, before they are sure and wrong."""
    found = made(WildFB, [wildfb_row(i % 4 + 1) for i in range(40)])
    found.take_scores([Score(2.5, (0.25,) * 4, 1.0, 0.0, 5, 0, 0, (0.97, 0.01, 0.01, 0.01))] * 40)
    return found


def test_the_model_before_calibration_is_a_baseline_with_a_paired_difference() -> None:
    metrics = calibrated_set().measure(QUICK).metrics
    for name in ("ece_above_1", "ece", "log_loss", "brier"):
        assert metrics[name].baselines["before"].difference.side_of(0) == -1, name
    assert metrics["ece_above_1"].estimate.value == pytest.approx(0)
    assert metrics["ece_above_1"].baselines["before"].estimate.value == pytest.approx(0.72)


def test_both_are_on_the_page_in_the_pictures_and_on_the_console() -> None:
    found = calibrated_set()
    result = found.measure(QUICK)
    alts = [picture.alt for picture in pictures(result)]
    assert [alt for alt in alts if alt.startswith("Reliability of P(class > 3) before calibration and after. ")]
    evaluation = Evaluation({"set": (found, result)}, {})
    page = report_html(evaluation, {}, QUICK)
    assert "<th>before calibration</th><th>after - before</th>" in page
    [row] = [row for row in table_rows(evaluation, ("before",)) if row[1] == "ece_above_1"]
    assert row[3].startswith("0.000 [")
    assert row[4] == "0.720"
