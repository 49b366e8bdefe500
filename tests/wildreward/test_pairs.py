"""Which completions become a pair, and why some prompts give none."""

from wildreward.pairs import Completion, Pair, PairRule, choose_pair


def written(*texts: str, cut_off: tuple[int, ...] = (), tokens: int = 3) -> list[Completion]:
    return [Completion(text, (1,) * tokens, index in cut_off, version=0) for index, text in enumerate(texts)]


def test_the_best_is_chosen_and_the_worst_rejected() -> None:
    assert choose_pair(written("a", "b", "c"), [2.0, 3.5, 1.5]) == Pair(1, 2, 3.5, 1.5)


def test_between_equal_rewards_the_first_counts() -> None:
    assert choose_pair(written("a", "b", "c", "d"), [3.0, 3.0, 1.0, 1.0]) == Pair(0, 2, 3.0, 1.0)


def test_equal_rewards_are_a_tie() -> None:
    assert choose_pair(written("a", "b"), [2.0, 2.0]) == "tie"


def test_a_gap_up_to_the_minimum_is_skipped() -> None:
    assert choose_pair(written("a", "b"), [2.0, 2.25], PairRule(min_reward_gap=0.25)) == "gap"
    assert isinstance(choose_pair(written("a", "b"), [2.0, 2.3], PairRule(min_reward_gap=0.25)), Pair)


def test_duplicates_count_once_and_alone_give_no_pair() -> None:
    assert choose_pair(written("a", "a", "a"), [1.0, 2.0, 3.0]) == "duplicates"
    assert choose_pair(written("a", "a", "b"), [1.0, 3.0, 2.0]) == Pair(2, 0, 2.0, 1.0)


def test_empty_completions_are_left_out_and_need_no_reward() -> None:
    assert choose_pair(written("", ""), [None, None]) == "empty"
    assert choose_pair(written("", "a", "b"), [None, 1.0, 2.0]) == Pair(2, 1, 2.0, 1.0)


def test_one_failed_score_drops_the_pair() -> None:
    assert choose_pair(written("a", "b", "c"), [1.0, None, 2.0]) == "score_failed"


def test_a_cut_off_completion_is_rejected_but_not_chosen_when_told_so() -> None:
    rule = PairRule(choose_cut_off=False)
    assert choose_pair(written("a", "b", "c", cut_off=(0,)), [3.0, 2.0, 1.0], rule) == Pair(1, 2, 2.0, 1.0)
    assert choose_pair(written("a", "b", cut_off=(0,)), [1.0, 2.0], rule) == Pair(1, 0, 2.0, 1.0)
    assert choose_pair(written("a", "b", cut_off=(0, 1)), [1.0, 2.0], rule) == "cut_off"


def test_the_length_penalty_can_turn_the_order() -> None:
    completions = [*written("long", tokens=200), *written("short", tokens=10)]
    assert choose_pair(completions, [3.0, 2.5]) == Pair(0, 1, 3.0, 2.5)
    assert choose_pair(completions, [3.0, 2.5], PairRule(length_penalty=1.0)) == Pair(1, 0, 2.5, 3.0)


def test_the_cap_on_the_length_gap_takes_the_widest_gap_it_allows() -> None:
    completions = [*written("long", tokens=90), *written("middle", tokens=50), *written("short", tokens=20)]
    rewards = [3.0, 1.5, 1.0]
    assert choose_pair(completions, rewards) == Pair(0, 2, 3.0, 1.0)
    assert choose_pair(completions, rewards, PairRule(max_length_gap=40)) == Pair(0, 1, 3.0, 1.5)
    assert choose_pair(completions, rewards, PairRule(max_length_gap=30)) == Pair(1, 2, 1.5, 1.0)
    assert choose_pair(completions, rewards, PairRule(max_length_gap=29)) == "length_gap"


def test_rewards_of_completions_that_are_left_out_do_not_matter() -> None:
    assert choose_pair(written("a", "", "b"), [1.0, 9.0, 2.0]) == Pair(2, 0, 2.0, 1.0)
