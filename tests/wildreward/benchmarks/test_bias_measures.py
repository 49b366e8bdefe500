"""Length and format bias of hand-made pairs."""

import numpy as np
import pytest

from tests.wildreward.benchmarks.test_pair_measures import replies
from wildreward.benchmarks.bias_measures import bias_measures
from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics, measure_all
from wildreward.benchmarks.pair_columns import PairColumns
from wildreward.metrics import value

MARGINS = np.array([1.0, 1.0, 1.0, -1.0, -2.0, 0.0])
LONGER_BY = np.array([5, 3, 1, 4, -2, 0])
PAIRS = PairColumns(replies(MARGINS, 10 + LONGER_BY), replies(np.zeros(6), np.full(6, 10)))


def values(measures: dict[str, Measure], count: int) -> dict[str, float]:
    return {name: value(measure.model, count) for name, measure in measures.items()}


def test_accuracy_by_length_and_its_balance() -> None:
    measures = bias_measures(PAIRS)
    found = values(measures, 6)
    assert found["accuracy_when_longer_is_better"] == 3 / 4
    assert found["accuracy_when_shorter_is_better"] == 0.0
    assert found["accuracy_when_equal_length"] == 0.0  # a tie
    assert found["length_balanced_accuracy"] == pytest.approx((3 / 4 + 0) / 2)
    assert value(measures["length_balanced_accuracy"].baselines["length"], 6) == 0.5


def test_a_taste_for_length_is_told_from_the_labels_own() -> None:
    found = values(bias_measures(PAIRS), 6)
    # the longer one scores higher in pairs 1-3 and 5; it is the better one in pairs 1-4
    assert found["prefers_longer"] == found["labels_prefer_longer"] == 4 / 5
    assert found["excess_preference_for_longer"] == 0.0
    always = PairColumns(replies(LONGER_BY, 10 + LONGER_BY), replies(np.zeros(6), np.full(6, 10)))
    assert value(bias_measures(always)["excess_preference_for_longer"].model, 6) == pytest.approx(1 / 5)


def test_a_tie_prefers_neither() -> None:
    pairs = PairColumns(replies(np.zeros(2), np.array([3, 1])), replies(np.zeros(2), np.array([1, 3])))
    assert value(bias_measures(pairs)["prefers_longer"].model, 2) == 0.5


def test_a_taste_has_no_better_side() -> None:
    names = [name for name in bias_measures(PAIRS) if "accuracy" not in name]
    assert "prefers_longer" in names
    assert all(not bias_measures(PAIRS)[name].baselines and bias_measures(PAIRS)[name].chance is None for name in names)


def test_correlations_with_length_are_over_replies_and_over_pairs() -> None:
    better, worse = np.array([3.0, 1.0]), np.array([2.0, 4.0])
    pairs = PairColumns(replies(better, np.array([30, 10])), replies(worse, np.array([20, 40])))
    found = values(bias_measures(pairs), 2)
    assert (found["score_length_spearman"], found["margin_length_spearman"]) == (pytest.approx(1), pytest.approx(1))


def test_without_shorter_better_replies_nothing_is_balanced() -> None:
    pairs = PairColumns(replies(np.ones(3), np.full(3, 9)), replies(np.zeros(3), np.full(3, 1)))
    measures = bias_measures(pairs)
    assert "length_balanced_accuracy" not in measures
    assert "accuracy_when_equal_length" not in measures


def test_format_bias_is_measured_where_the_layout_differs() -> None:
    lists, none = np.array([4, 2, 0, 0, 3, 0]), np.array([0, 0, 2, 0, 3, 0])
    pairs = PairColumns(
        replies(MARGINS, list_items=lists, formatting=lists), replies(np.zeros(6), list_items=none, formatting=none)
    )
    found = values(bias_measures(pairs), 6)
    assert found["accuracy_when_more_list_items_is_better"] == 1.0
    assert found["accuracy_when_fewer_list_items_is_better"] == 1.0
    assert found["score_gain_of_more_list_items"] == pytest.approx((1 + 1 - 1) / 3)
    assert found["formatting_balanced_accuracy"] == 1.0
    assert found["prefers_more_formatting"] == pytest.approx(2 / 3)
    assert not [name for name in found if "headings" in name or "code_blocks" in name or "bold" in name]


def test_a_balance_needs_enough_pairs_on_both_sides_for_an_interval() -> None:
    def balance(shorter: int) -> Metrics:
        chars = np.where(np.arange(100) < shorter, 1, 9)
        pairs = PairColumns(replies(np.arange(100) % 3 - 1.0, chars), replies(np.zeros(100), np.full(100, 5)))
        return measure_all(bias_measures(pairs), np.arange(100), MeasureOptions(replicates=50))

    assert balance(9)["length_balanced_accuracy"].estimate.low is None
    assert balance(10)["length_balanced_accuracy"].estimate.low is not None
    assert balance(9)["prefers_longer"].estimate.low is not None
