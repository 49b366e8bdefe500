"""Reading a judge's answer: a value of the alphabet or none, never a guess."""

import pytest

from wildreward.judge.replies import distribution, parse

FEEDBACK, REFUSAL = (1, 2, 3, 4, 5), (0, 1, 2)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("[[1]]", 1),
        (" [[ 4 ]] builds on it", 4),
        ("**[[5]]** thanks", 5),
        ("[[3]] neither [[4]] nor [[2]] fits", 3),
        ("The level is [[2]].", 2),
        ("I choose [[2]], yes, [[2]].", 2),
        ("<think>[[1]] or [[5]]?</think>\n[[5]] praise", 5),
        ("[[1]] or so</think>[[4]] interest", 4),
        ("<think>maybe [[1]]", None),
        ("either [[1]] or [[2]]", None),
        ("[[0]]", None),
        ("[[6]]", None),
        ("[[12]]", None),
        ("[3]", None),
        ("3", None),
        ("", None),
        (None, None),
    ],
)
def test_only_a_plain_value_in_double_brackets_is_an_answer(answer: str | None, value: int | None) -> None:
    assert parse(answer, FEEDBACK) == value


def test_the_refusal_alphabet_has_a_zero_and_no_three() -> None:
    assert (parse("[[0]]", REFUSAL), parse("[[3]]", REFUSAL)) == (0, None)


def test_the_distribution_is_read_at_the_token_of_the_value_however_it_is_cut() -> None:
    apart = [("[[", {}), ("4", {"4": -0.2231, "3": -1.6094}), ("]]", {})]
    whole = [("[[4]]", {"[[4]]": -0.2231, "[[3]]": -1.6094, "the": -3.0})]
    for tokens in (apart, whole):
        assert distribution(tokens, 4, FEEDBACK) == pytest.approx((0, 0, 0.2, 0.8, 0), abs=1e-3)


def test_numbers_before_the_answer_are_not_taken_for_it() -> None:
    tokens = [("4", {"4": 0.0}), (" [[", {}), ("2", {"2": 0.0}), ("]]", {})]
    assert distribution(tokens, 2, FEEDBACK) == (0, 1, 0, 0, 0)
    assert distribution([("no", {}), (" value", {})], 2, FEEDBACK) is None
