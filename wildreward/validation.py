"""What is measured of a reward model while it trains: few numbers, on rows it was not trained on."""

import numpy as np
from numpy.typing import NDArray

from wildreward.good_bad import good_bad_auc
from wildreward.metrics import concordance, quadratic_kappa, value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def validation_metrics(scores_N: Floats, labels_N: Ints, losses_N: Floats, num_classes: int) -> dict[str, float]:
    """loss, mae, spearman, pairwise (accuracy across classes), qwk, accuracy of expected scores 1..C against classes.

    `good_bad_auc` alone means the same whatever the class map (wildreward/good_bad.py).
    A ranking that is not defined (all scores alike) is no ranking: spearman and qwk 0, pairwise and good_bad_auc 1/2.

    >>> metrics = validation_metrics(np.array([1.2, 2.9, 3.8]), np.array([1, 3, 4]), np.zeros(3), 4)
    >>> {name: round(number, 3) for name, number in metrics.items()}
    {'loss': 0.0, 'mae': 0.167, 'spearman': 1.0, 'pairwise': 1.0, 'qwk': 1.0, 'accuracy': 1.0, 'good_bad_auc': 1.0}
    """
    from scipy.stats import spearmanr

    classes_N = np.clip(np.rint(scores_N), 1, num_classes).astype(np.int64)
    count, varied = len(scores_N), np.ptp(scores_N) > 0 and np.ptp(labels_N) > 0
    kappa = value(quadratic_kappa(labels_N, classes_N), count)
    pairwise = value(concordance(scores_N, labels_N), count)
    good_bad = good_bad_auc(scores_N, labels_N, num_classes)
    return {
        "loss": float(losses_N.mean()),
        "mae": float(np.abs(scores_N - labels_N).mean()),
        "spearman": float(spearmanr(scores_N, labels_N).statistic) if varied else 0.0,
        "pairwise": 0.5 if np.isnan(pairwise) else pairwise,
        "qwk": 0.0 if np.isnan(kappa) else kappa,
        "accuracy": float((classes_N == labels_N).mean()),
        "good_bad_auc": 0.5 if np.isnan(good_bad) else good_bad,
    }
