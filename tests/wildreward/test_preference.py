"""P(A is better) from two class distributions."""

import itertools

import numpy as np
import pytest

from wildreward.preference import probability_better, probability_tied


@pytest.mark.parametrize("classes", [2, 4, 5])
def test_it_is_what_counting_all_pairs_of_classes_gives(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for _ in range(20):
        a, b = (rng.dirichlet(np.ones(classes)).tolist() for _ in range(2))
        joint = {(i, j): a[i] * b[j] for i, j in itertools.product(range(classes), repeat=2)}
        above = sum(p for (i, j), p in joint.items() if i > j)
        below = sum(p for (i, j), p in joint.items() if i < j)
        assert probability_better(a, b) == pytest.approx(above / (above + below))
        assert probability_better(a, b) + probability_better(b, a) == pytest.approx(1)
        assert probability_tied(a, b) == pytest.approx(1 - above - below)


def test_distributions_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        probability_better([0.5, 0.5], [1.0])
