"""Which prompts are the same, and which of them stays."""

from collections.abc import Sequence

import numpy as np
import pytest

from wildreward.duplicates import band_keys, bands, beyond, hash64, near_duplicates, prompt_text, signature

BASE = "Please write a short story about a lighthouse keeper who finds a message in a bottle after a long storm."
SIMILAR = BASE.replace("short story", "brief story")
OTHER = "How do I read a Parquet file in batches with pyarrow, and how much memory does it take for each of them?"


def chat(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def jaccard(a: str, b: str) -> float:
    left, right = ({text[n : n + 5] for n in range(len(text) - 4)} for text in (a, b))
    return len(left & right) / len(left | right)


def found(texts: Sequence[str], conversations: Sequence[int], similarity: float = 0.8) -> set[int]:
    """Places that are dropped in any band; ranks are places."""
    signatures = np.array([signature(text) for text in texts])
    ranks, groups = np.arange(len(texts)).astype(np.uint64), np.array(conversations, dtype=np.uint64)
    count, width = bands(similarity)
    rounds = (
        near_duplicates(band_keys(signatures, band, width), ranks, groups, signatures, similarity)
        for band in range(count)
    )
    return {int(place) for places in rounds for place in places}


def test_the_prompt_is_what_the_user_said_whatever_the_case_the_spacing_and_the_replies() -> None:
    assert prompt_text(chat("Hello  World", "a", "and\nnow", "b")) == prompt_text(
        chat("hello world", "c", "And now", "d")
    )
    assert prompt_text(chat("one two", "a")) != prompt_text(chat("one", "a", "two", "b"))
    system = [{"role": "system", "content": "Be kind."}]
    assert prompt_text(system + chat("Hi", "a")) == "hi"


def test_the_share_of_agreeing_places_estimates_the_similarity() -> None:
    for other in (SIMILAR, OTHER, BASE + " Thank you very much in advance for it."):
        agreeing = float((signature(BASE) == signature(other)).mean())
        assert agreeing == pytest.approx(jaccard(BASE, other), abs=0.12)


def test_short_empty_and_very_long_texts_have_signatures_of_their_own() -> None:
    assert not np.array_equal(signature("a"), signature("b"))
    assert np.array_equal(signature(""), signature(""))
    long = " ".join(map(str, range(20_000)))
    assert np.array_equal(signature(long), signature(long))
    assert signature("half an emoji \ud83d").shape == (128,)


def test_a_nearly_equal_prompt_of_another_conversation_goes_and_the_lower_rank_stays() -> None:
    assert jaccard(BASE, SIMILAR) > 0.8 > jaccard(BASE, OTHER)
    assert found([BASE, OTHER, SIMILAR], [1, 2, 3]) == {2}
    assert found([SIMILAR, BASE], [1, 3]) == {1}


def test_turns_of_one_conversation_are_no_duplicates_of_each_other() -> None:
    assert found([BASE, SIMILAR], [1, 1]) == set()
    assert found([BASE, SIMILAR, SIMILAR], [1, 1, 2]) == {2}


def test_a_higher_similarity_asked_for_leaves_more() -> None:
    assert found([BASE, SIMILAR], [1, 2], similarity=0.97) == set()
    assert found([BASE, BASE], [1, 2], similarity=1.0) == {1}


def test_among_many_prompts_those_above_the_threshold_are_found() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(2000)]
    bases = [" ".join(rng.choice(words, 60)) for _ in range(200)]
    copies = [" ".join([*text.split()[:57], *rng.choice(words, 3)]) for text in bases]
    dropped = found(bases + copies, range(400))
    near = {200 + n for n, (a, b) in enumerate(zip(bases, copies, strict=True)) if jaccard(a, b) > 0.86}
    assert len(near) > 100
    assert len(near - dropped) <= 0.03 * len(near)
    assert not any(place < 200 for place in dropped)


def test_the_rows_beyond_a_share_are_those_of_the_highest_ranks_in_any_order() -> None:
    keys, ranks = np.array([1, 2, 1, 1, 2, 3]), np.array([9, 1, 3, 6, 0, 5])
    assert beyond(keys, ranks, keep=2).tolist() == [0]
    assert beyond(keys, ranks, keep=1).tolist() == [0, 1, 3]
    assert beyond(keys[::-1], ranks[::-1], keep=1).tolist() == [2, 4, 5]
    assert beyond(keys[:0], ranks[:0], keep=1).tolist() == []


def test_the_seed_draws_other_rows() -> None:
    assert hash64("a", 0) != hash64("a", 1)
