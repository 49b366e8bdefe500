"""Conversations are set apart whole, the same ones in any order."""

import random

from wildreward.holdout import held_out

CONVERSATIONS = [f"c{i // 3}" for i in range(300)]


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    shuffled = random.Random(0).sample(CONVERSATIONS, k=len(CONVERSATIONS))
    assert held_out(shuffled, 0.2, seed=3) == held_out(CONVERSATIONS, 0.2, seed=3)


def test_the_share_of_rows_is_what_was_asked_and_the_seed_changes_which() -> None:
    chosen = held_out(CONVERSATIONS, 0.2, seed=0)
    assert sum(name in chosen for name in CONVERSATIONS) == 60
    assert chosen != held_out(CONVERSATIONS, 0.2, seed=1)


def test_something_is_always_left_to_train_on() -> None:
    assert held_out(["only"], 0.5, seed=0) == frozenset()
