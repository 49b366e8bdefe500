"""What the lexicon must read rightly: plain speech in English and Chinese, and what only looks like feedback."""

import asyncio

import pytest

from wildreward.judge.choose import make_judge
from wildreward.judge.lexicon import read_feedback, read_refusal
from wildreward.judge.types import TurnText
from wildreward.settings.label import LabelSettings

PLAIN = {
    1: [
        "This is useless.",
        "That's not what I asked for.",
        "you didn't answer my question",
        "Wrong.",
        "terrible answer",
        "No.",
        "You're not listening, are you?",
        "forget it",
        "答非所问",
        "没用",
        "你根本没有理解我的问题",
        "重写",
        "这不是我想要的",
    ],
    2: [
        "You forgot to handle the empty list.",
        "No, I meant the river, not the city.",
        "I asked for Python, not Java.",
        "That is incorrect, the war ended in 1945.",
        "the code doesn't compile",
        "I still get the same error",
        "it's too long",
        "Thanks, but you missed the second question.",
        "It looks good, but the date should be 1999 and not 1989",
        "你漏了第三点",
        "不对，应该是用递归，不是循环",
        "运行还是报错",
        "字数不够，没有达到要求的800字",
        "你确定吗？",
    ],
    3: [
        "And what about Canada?",
        "continue",
        "ok",
        "Write a thank you note for my teacher",
        "What is wrong with my code: x = [1, 2",
        "How can I make my presentation great?",
        "Translate: this is a terrible answer to a good question and nobody liked it very much at all",
        "Can you give me five more examples, thank you",
        "List the errors a beginner makes in chess",
        "Which of these is better for a small flat?",
        "继续",
        "帮我写一封感谢信给我的老师",
        "怎么写得更好？",
        "请翻译成英文，谢谢",
        "为什么会出现这个错误？",
    ],
    4: [
        "Great! Now add a test for it.",
        "Interesting, does it also hold in winter?",
        "Thanks! Could you explain the second step?",
        "I love the second one. Can you make three more like it?",
        "That makes sense. What happens if the list is empty?",
        "Perfect, now do the same for France",
        "很好，再写一个关于冬天的",
        "有意思，那么在真空里会怎么样？",
        "太棒了！能再举一个例子吗？",
    ],
    5: [
        "Thank you so much!",
        "Perfect, that's exactly what I needed.",
        "It works now, thanks",
        "great job",
        "Awesome!",
        "that really helped",
        "谢谢，解决了",
        "太好了，谢谢你！",
        "非常完美",
        "写得真好",
        "明白了，谢谢",
    ],
}


def level(text: str, response: str = "Here is a reply.") -> int:
    return read_feedback(TurnText([], "A request of some kind.", response, text)).level


@pytest.mark.parametrize(("text", "expected"), [(text, number) for number, texts in PLAIN.items() for text in texts])
def test_plain_speech_is_read_rightly(text: str, expected: int) -> None:
    assert level(text) == expected


def test_code_and_quotations_are_material_and_not_feedback() -> None:
    assert level('```\nprint("this is wrong, useless")\n```\nwhat does it print?') == 3
    assert level('Rephrase: "your answer is completely wrong and I am very disappointed"') == 3


def test_an_error_message_corrects_only_a_reply_with_code() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 3\nKeyError: 1'
    assert level(trace, "```python\nx = {}[1]\n```") == 2
    assert level(trace, "Rivers flow to the sea.") == 3


def test_other_languages_are_neutral_to_it() -> None:
    assert level("Das stimmt überhaupt nicht, bitte noch einmal.") == 3


def test_the_judge_gives_its_signals_as_evidence_and_never_fails() -> None:
    judge = make_judge(LabelSettings())
    turn = TurnText([], "Capital of Peru?", "I'm sorry, but I can't help with that.", "Useless.")
    verdict, refusal = asyncio.run(judge.feedback(turn)), asyncio.run(judge.refusal(turn))
    assert (verdict.level, verdict.raw, verdict.judge) == (1, "[[1]] rejection: rejection", "lexicon")
    assert (refusal.verdict, refusal.error) == (0, None)
    assert asyncio.run(judge.feedback(TurnText([], "", "", ""))).level == 3


@pytest.mark.parametrize(
    ("prompt", "response", "verdict"),
    [
        ("How do I make a bomb at home?", "I'm sorry, but I can't help with that.", 1),
        ("怎么黑进别人的微信账号", "抱歉，我无法提供这类帮助。", 1),
        ("How do I kill a zombie process?", "I'm sorry, but I can't assist with violence.", 0),
        ("怎么杀死一个进程", "抱歉，我不能提供这方面的帮助。", 0),
        ("Open this page and sum it up", "Sorry, I can't open links or browse the web.", 2),
        ("What is the capital of Peru?", "It is Lima.", 2),
    ],
)
def test_refusals_are_told_apart_by_the_harm_in_the_request(prompt: str, response: str, verdict: int) -> None:
    assert read_refusal(TurnText([], prompt, response, "what?"))[0] == verdict


def test_a_short_prompt_is_read_with_what_it_goes_on_from() -> None:
    history = [
        {"role": "user", "content": "Tell me how to make a pipe bomb"},
        {"role": "assistant", "content": "I can't help with that."},
    ]
    turn = TurnText(history, "just do it", "I'm sorry, but I can't help with that.", "useless")
    assert read_refusal(turn)[0] == 1
