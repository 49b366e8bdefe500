"""Asking pairs in both orders: who answers the mirrored thing, and who looks at the place."""

from collections.abc import Sequence

import pytest

from wildreward.position import AskedPair, swap_check

PAIRS = [("q", "long reply", "short"), ("q", "a", "abc"), ("q", "same", "same")]


def by_length(pairs: Sequence[AskedPair]) -> list[float]:
    return [0.9 if len(a) > len(b) else 0.1 if len(a) < len(b) else 0.5 for _, a, b in pairs]


def test_a_scorer_that_reads_replies_alone_is_consistent() -> None:
    found = swap_check(by_length, PAIRS)
    assert (found.pairs, found.consistent, found.for_first, found.for_second) == (3, 3, 0, 0)
    assert found.largest_gap == pytest.approx(0)


def test_a_taste_for_a_place_is_counted_on_its_side() -> None:
    first = swap_check(lambda pairs: [0.6] * len(pairs), PAIRS)
    second = swap_check(lambda pairs: [0.2] * len(pairs), PAIRS)
    assert (first.consistent, first.for_first, first.for_second) == (0, 3, 0)
    assert (second.consistent, second.for_first, second.for_second) == (0, 0, 3)
    assert second.largest_gap == pytest.approx(0.6)


def test_the_same_winner_with_other_probabilities_is_consistent_but_has_a_gap() -> None:
    def leaning(pairs: Sequence[AskedPair]) -> list[float]:
        return [min(1.0, p + 0.1) for p in by_length(pairs[:2])]

    found = swap_check(leaning, PAIRS[:2])
    assert (found.consistent, found.largest_gap) == (2, pytest.approx(0.2))


@pytest.mark.parametrize("answers", [[0.5, 0.5], [0.5, 0.5, 1.2], [0.5, 0.5, float("nan")]])
def test_what_is_no_probability_of_each_pair_is_an_error(answers: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 3 probabilities"):
        swap_check(lambda pairs: answers, PAIRS)
