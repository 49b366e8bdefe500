"""What is measured of a reward model while it trains: few numbers, on rows it was not trained on."""

import math
import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wildreward.good_bad import good_bad_auc
from wildreward.metrics import concordance, quadratic_kappa, value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNDEFINED = -sys.float_info.max
"""What an undefined metric is ranked by: below every number, and a number itself, as JSON knows no infinity."""


def validation_metrics(scores_N: Floats, labels_N: Ints, losses_N: Floats, num_classes: int) -> dict[str, float | None]:
    """loss, mae, spearman, pairwise (accuracy across classes), qwk, accuracy of expected scores 1..C against classes.

    `good_bad_auc` alone means the same whatever the class map (wildreward/good_bad.py).
    None where a metric is not defined: spearman when all scores or all labels are alike, pairwise when all labels are,
    qwk when labels and rounded scores are all one class.

    >>> metrics = validation_metrics(np.array([1.2, 2.9, 3.8]), np.array([1, 3, 4]), np.zeros(3), 4)
    >>> {name: round(number, 3) for name, number in metrics.items()}
    {'loss': 0.0, 'mae': 0.167, 'spearman': 1.0, 'pairwise': 1.0, 'qwk': 1.0, 'accuracy': 1.0, 'good_bad_auc': 1.0}
    >>> validation_metrics(np.array([2.0, 2.0]), np.array([1, 3]), np.zeros(2), 4)["spearman"]
    """
    from scipy.stats import spearmanr

    classes_N = np.clip(np.rint(scores_N), 1, num_classes).astype(np.int64)
    count, varied = len(scores_N), np.ptp(scores_N) > 0 and np.ptp(labels_N) > 0
    return {
        "loss": float(losses_N.mean()),
        "mae": float(np.abs(scores_N - labels_N).mean()),
        "spearman": _defined(float(spearmanr(scores_N, labels_N).statistic)) if varied else None,
        "pairwise": _defined(value(concordance(scores_N, labels_N), count)),
        "qwk": _defined(value(quadratic_kappa(labels_N, classes_N), count)),
        "accuracy": float((classes_N == labels_N).mean()),
        "good_bad_auc": _defined(good_bad_auc(scores_N, labels_N, num_classes)),
    }


def _defined(number: float) -> float | None:
    return None if math.isnan(number) else number


def selection_value(metrics: Mapping[str, float | None], name: str, mode: str) -> float:
    """What an evaluation is ranked by, higher is better; an undefined metric is below every defined one.

    >>> selection_value({"mae": 0.5}, "mae", "min"), selection_value({"qwk": None}, "qwk", "max") == UNDEFINED
    (-0.5, True)
    """
    found = metrics[name]
    return UNDEFINED if found is None else found if mode == "max" else -found


def undefined_note(name: str, step: int) -> str:
    """What is said when the metric that chooses the checkpoint cannot be computed."""
    return (
        f"{name} is undefined at step {step} (the scores of the validation rows, or their labels, are all alike): "
        "this checkpoint cannot be the best; mae and loss are always defined"
    )
