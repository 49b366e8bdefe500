"""A metric that cannot be computed is absent, not a number."""

import numpy as np
import pytest

from wildreward.validation import UNDEFINED, selection_value, undefined_note, validation_metrics


def test_a_ranking_of_equal_scores_is_undefined_and_no_best() -> None:
    found = validation_metrics(np.full(4, 2.0), np.array([1, 2, 3, 4]), np.ones(4), 4)
    assert found["spearman"] is None
    assert found["mae"] == pytest.approx(1.0)
    assert selection_value(found, "spearman", "max") == UNDEFINED
    assert "spearman is undefined at step 7" in undefined_note("spearman", 7)


def test_labels_of_one_class_have_no_ranking_and_no_kappa() -> None:
    found = validation_metrics(np.array([1.9, 2.1, 2.2]), np.array([2, 2, 2]), np.ones(3), 4)
    assert (found["spearman"], found["pairwise"], found["qwk"]) == (None, None, None)
    assert found["accuracy"] == 1.0
