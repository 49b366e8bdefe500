"""Who lends a neutral turn its label."""

from wildreward.hindsight import candidate_pairs, donor


def test_the_nearest_signal_on_the_topic_decides() -> None:
    levels = {0: 3, 1: 4, 2: 5}
    assert donor(0, levels, {1: 0.9, 2: 0.9}, 2, 0.5) == 1
    assert donor(0, levels, {1: 0.1, 2: 0.9}, 2, 0.5) == 2
    assert donor(0, {0: 3, 1: 1, 2: 5}, {1: 0.9, 2: 0.9}, 2, 0.5) is None
    assert donor(0, {0: 3, 1: 1, 2: 5}, {1: 0.1, 2: 0.9}, 2, 0.5) == 2


def test_turns_beyond_the_window_lend_nothing_whatever_is_missing_between() -> None:
    levels = {0: 3, 7: 5}  # neighbours in the list, not in the conversation
    assert candidate_pairs(levels, 2) == []
    assert donor(0, levels, {}, 2, 0.5) is None


def test_a_similarity_at_the_threshold_counts_and_one_below_does_not() -> None:
    assert donor(0, {0: 3, 1: 5}, {1: 0.5}, 2, 0.5) == 1
    assert donor(0, {0: 3, 1: 5}, {1: 0.4999}, 2, 0.5) is None


def test_only_neutral_turns_receive_and_only_judged_turns_lend() -> None:
    assert candidate_pairs({0: 2, 1: 5}, 2) == []
    assert candidate_pairs({0: 3, 1: None, 2: 5}, 2) == [(0, 2)]
    assert candidate_pairs({0: None, 1: 5}, 2) == []


def test_negatives_are_compared_only_where_they_could_block_a_positive() -> None:
    assert candidate_pairs({0: 3, 1: 1, 2: 2}, 2) == []
    assert candidate_pairs({0: 3, 1: 4, 2: 2}, 2) == [(0, 1)]
    assert candidate_pairs({0: 3, 1: 5}, 0) == []
