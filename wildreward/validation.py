"""What is measured of a reward model while it trains: few numbers, on rows it was not trained on."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def validation_metrics(scores: Floats, labels: Ints, losses: Floats, num_classes: int) -> dict[str, float]:
    """loss, mae, spearman, qwk and accuracy of expected scores (1..C) against classes (1..C), all (N,).

    A correlation that is not defined (all scores or labels alike) is 0: such a model ranks nothing.

    >>> metrics = validation_metrics(np.array([1.2, 2.9, 3.8]), np.array([1, 3, 4]), np.zeros(3), 4)
    >>> {name: round(value, 3) for name, value in metrics.items()}
    {'loss': 0.0, 'mae': 0.167, 'spearman': 1.0, 'qwk': 1.0, 'accuracy': 1.0}
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import cohen_kappa_score

    classes = np.clip(np.rint(scores), 1, num_classes).astype(np.int64)
    ranked = len(np.unique(scores)) > 1 and len(np.unique(labels)) > 1
    spread = len(np.unique(np.concatenate([classes, labels]))) > 1
    kappa = cohen_kappa_score(labels, classes, weights="quadratic", labels=range(1, num_classes + 1)) if spread else 0.0
    return {
        "loss": float(losses.mean()),
        "mae": float(np.abs(scores - labels).mean()),
        "spearman": float(spearmanr(scores, labels).statistic) if ranked else 0.0,
        "qwk": float(kappa),
        "accuracy": float((classes == labels).mean()),
    }
