"""Validation metrics agree with scikit-learn and say nothing good of a constant model."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from wildreward.validation import validation_metrics


def test_they_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 5, size=200)
    scores = np.clip(labels + rng.normal(0, 1, size=200), 1, 4)
    metrics = validation_metrics(scores, labels, np.ones(200), 4)
    kappa = cohen_kappa_score(labels, np.rint(scores).astype(int), weights="quadratic")
    assert metrics["qwk"] == pytest.approx(kappa)
    assert metrics["mae"] == pytest.approx(np.abs(scores - labels).mean())
    assert metrics["loss"] == 1


def test_a_constant_score_ranks_nothing() -> None:
    metrics = validation_metrics(np.full(4, 2.0), np.array([1, 2, 3, 4]), np.zeros(4), 4)
    assert (metrics["spearman"], metrics["pairwise"], metrics["qwk"]) == (0.0, 0.5, 0.0)
