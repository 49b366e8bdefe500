"""From two class distributions to the probability that one reply is better.

The classes of two replies are taken as independent given their texts. P(A better) is conditional on the classes being
different: a comparison asks which reply is better, and what is left of the mass where both have the same class says
only that the question may have no answer. That mass is `probability_tied`.

Measured against sigmoid(score A - score B) on the demo's test rows (tests/benchmarks/pair_probability.py): the sigmoid
treats a difference of one class alike whatever the spread of the two distributions, and is under-confident.
"""

from collections.abc import Sequence
from itertools import accumulate


def probability_better(probs_a: Sequence[float], probs_b: Sequence[float]) -> float:
    """P(class A > class B | they differ); 1/2 where they cannot differ. `probs` are of the classes 1..C, sum 1.

    >>> probability_better([0.5, 0.5], [0.5, 0.5])
    0.5
    >>> round(probability_better([0.1, 0.9], [0.9, 0.1]), 4)  # 0.81 / (0.81 + 0.01)
    0.9878
    >>> probability_better([0.0, 1.0], [0.0, 1.0])
    0.5
    """
    above, below = _above(probs_a, probs_b), _above(probs_b, probs_a)
    return above / (above + below) if above + below > 0 else 0.5


def probability_tied(probs_a: Sequence[float], probs_b: Sequence[float]) -> float:
    """P(class A = class B).

    >>> round(probability_tied([0.1, 0.9], [0.9, 0.1]), 4)
    0.18
    """
    return sum(a * b for a, b in zip(probs_a, probs_b, strict=True))


def _above(probs_a: Sequence[float], probs_b: Sequence[float]) -> float:
    """P(class A > class B)."""
    below_b = accumulate(probs_b[:-1], initial=0.0)
    return sum(a * b for a, b in zip(probs_a, below_b, strict=True))
