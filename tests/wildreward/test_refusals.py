"""Which replies are put to the judge as possible refusals."""

import pytest

from wildreward.refusals import looks_like_refusal, needs_refusal_question
from wildreward.settings.label import LabelSettings


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m unable to help with this.",
        "As an AI language model, I cannot provide instructions of that kind.",
        "I must decline to write this, as it goes against my guidelines.",
        "I won't create content that promotes violence.",
        "抱歉，我无法提供这类信息。",
        "作为人工智能，我不能协助您完成这个请求。",
        "很遗憾，您的请求违反了使用政策。",
    ],
)
def test_refusals_are_recognised(reply: str) -> None:
    assert looks_like_refusal(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry for the confusion. The capital is Canberra.",
        "Sorry to hear that! Here are three things you can try.",
        "You cannot divide by zero, so the expression is undefined.",
        "对不起，刚才算错了，正确答案是42。",
        "I'm sorry, but I can't give an exact number. " + "Here is what is known about it in detail. " * 40,
        "",
    ],
)
def test_apologies_and_long_answers_are_not(reply: str) -> None:
    assert not looks_like_refusal(reply)


def test_both_thresholds_are_settings_and_only_negative_feedback_asks() -> None:
    reply = "Let me see what there is to say about this. I cannot help with that."

    def asked(level: int | None, **settings: object) -> bool:
        return needs_refusal_question(level, reply, LabelSettings.parse(settings))

    assert [asked(level) for level in (None, 1, 2, 3, 5)] == [False, True, True, False, False]
    assert not asked(1, refusal_opening_chars=40)
    assert not asked(1, refusal_max_chars=len(reply) - 1)
    assert asked(1, refusal_max_chars=len(reply))
    assert not asked(1, refusal_validation=False)


def test_a_chinese_character_counts_as_three() -> None:
    assert looks_like_refusal("抱歉，我无法提供。", max_chars=23)
    assert not looks_like_refusal("抱歉，我无法提供。", max_chars=22)
