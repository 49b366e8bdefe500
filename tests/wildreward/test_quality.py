"""Each quality filter: what it drops and what it must leave."""

from typing import Any

import pytest

from wildreward.quality import drop_reason
from wildreward.settings.label import LabelSettings

REPLY = "Here is an answer that is long enough to be worth training on, with more than ten words in it."


def reason(
    prompt: str, *, reply: str = REPLY, history: int = 0, language: str = "English", **settings: Any
) -> str | None:
    earlier = [{"role": ("user", "assistant")[n % 2], "content": f"message {n}"} for n in range(history)]
    messages = [*earlier, {"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
    return drop_reason({"messages": messages, "language": language}, LabelSettings(**settings))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Please draw me a cat wearing a red hat", "image_generation"),
        ("Generate a photorealistic image of a lake at dawn", "image_generation"),
        ("帮我画一张小猫在草地上的图", "image_generation"),
        ("Summarise what https://news.site/article says for me", "search_or_links"),
        ("Search the web for cheap flights to Lisbon", "search_or_links"),
        ("帮我上网查一下今天的新闻有哪些", "search_or_links"),
        ("Who are you and which model is this", "identity_question"),
        ("你是谁？是哪个公司做的模型", "identity_question"),
        ("Summarise the attached file in three short points", "missing_attachment"),
        ("根据附件里的数据写一份总结报告", "missing_attachment"),
        ("Please transcribe this recording and clean it up", "media"),
        ("帮我总结一下这段视频讲了什么内容", "media"),
        ("Write to jane.roe@mailbox.net that I will be late", "personal_data"),
        ("把我的手机号 13912345678 加到名片里面去", "personal_data"),
        ("Write more", "too_short"),
        ("再写一点", "too_short"),
    ],
)
def test_what_a_text_model_cannot_do_and_what_is_private_is_dropped(prompt: str, expected: str) -> None:
    assert reason(prompt) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "Draw a conclusion from these two experiments, please",
        "How do I build a smaller Docker image for Python?",
        "Write a Python class for image processing with numpy",
        "Explain binary search for a beginner in five lines",
        "How do I attach an event handler to the button?",
        "Why does http://localhost:8000/docs give me a 404?",
        "How long did the year 1998 world cup final last?",
        "请解释一下二分查找算法的原理和复杂度",
        "写一个关于友谊的短故事，不超过两百字",
    ],
)
def test_ordinary_requests_that_share_a_word_are_kept(prompt: str) -> None:
    assert reason(prompt) is None


def test_an_identity_question_inside_a_long_story_is_no_question_to_the_model() -> None:
    assert reason('Continue the story. "Who are you?" asked the knight. ' + "The dragon slept on. " * 20) is None


def test_cues_count_where_a_long_prompt_asks_and_not_in_its_material() -> None:
    material = "The quarterly numbers rose again in the north. " * 20
    assert reason(f"Summarise the text. {material} They see the attached file. {material}") is None
    assert reason(f"{material} {material} Then summarise the attached file.") == "missing_attachment"
    middle = f"Summarise the text. {material} They see the attached file. {material}"
    assert reason(middle, filter_edge_chars=1500) == "missing_attachment"


def test_length_and_language_have_thresholds_of_their_own() -> None:
    prompt = "Explain photosynthesis to a ten year old child"
    assert reason(prompt, reply="It is light.") == "too_short"
    assert reason(prompt, reply="It is light.", min_response_units=3) is None
    assert reason(prompt, history=22) == "history_too_long"
    assert reason(prompt, history=22, max_history_messages=30) is None
    assert reason(prompt, max_total_units=20) == "history_too_long"
    assert reason(prompt, language="Russian") == "language"
    assert reason(prompt, language="Russian", languages=("all",)) is None


def test_a_filter_that_is_off_drops_nothing() -> None:
    assert reason("Please draw me a cat wearing a red hat", filters=("media", "too_short")) is None
    assert reason("Write more", filters=("none",)) is None


def test_personal_data_anywhere_in_the_users_words_drops_the_row() -> None:
    messages = [
        {"role": "user", "content": "My number is 13912345678, note it"},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Now write a poem about the sea"},
        {"role": "assistant", "content": REPLY},
    ]
    assert drop_reason({"messages": messages, "language": "English"}, LabelSettings()) == "personal_data"
