"""Replies that look like refusals, by cues in English and Chinese: who is asked the refusal question.

A cue list cannot tell a justified refusal from a false one, and it need not: a reply that looks like a refusal is put
to the judge, and "not a refusal" is one of the judge's answers. So the cues are generous and the length bound matters
more: a long reply that begins with an apology usually goes on to answer.
"""

import re

from wildreward.scale import NEGATIVE_LEVELS
from wildreward.settings.label import LabelSettings

MAX_CHARS: int = LabelSettings.model_fields["refusal_max_chars"].default
OPENING_CHARS: int = LabelSettings.model_fields["refusal_opening_chars"].default

_CJK = re.compile(r"[\u3400-\u9fff]")

_DECLINE = "|".join(
    [
        r"can(?:no|')?t|can not|could not|couldn't|won't|will not|must decline|have to decline|decline to",
        r"(?:'m|am) (?:unable|not able) to|(?:'m|am) incapable of",
        r"(?:'m|am) not (?:allowed|permitted|programmed|designed) to",
    ]
)
_ACT = "|".join(
    [
        "assist|help|provide|fulfil+|comply|create|generate|write|engage|support|continue|discuss|answer|offer|give",
        "share|participate|do that|do this|complete|promote|condone|facilitate|encourage|respond|produce|advise",
        "recommend|make|tell|explain|describe|teach|show|process|access|open|browse|draw|play",
    ]
)

_ENGLISH = re.compile(
    rf"\bI\s?(?:{_DECLINE})(?:\s+\w+){{0,3}}?\s+(?:{_ACT})"
    r"|\b(?:sorry|apologi[sz]e|apologies|unfortunately)\b[^.!?\n]{0,40}\b(?:can(?:no|')?t|unable|not able|won't)\b"
    r"|\bas an? (?:responsible |ethical )?(?:ai|artificial intelligence|(?:large )?language model)\b[^.!?\n]{0,80}"
    r"\b(?:can(?:no|')?t|unable|not able|not allowed|won't|do not|don't|must)\b"
    r"|\b(?:against|violates?|goes against) (?:my|our|the|openai'?s?) [\w' ]{0,30}?"
    r"(?:polic(?:y|ies)|guidelines|programming|principles|rules)\b"
    r"|\bnot (?:comfortable|appropriate) (?:for me )?(?:to|with|providing|discussing|creating)\b"
    r"|\bnot (?:ethical|advisable)\b[^.!?\n]{0,40}\bto (?:provide|create|promote|write|give)"
    r"|\bI must (?:refuse|decline)\b|\bI (?:refuse|decline) to\b"
    r"|\bI do not (?:feel comfortable|engage|provide|support|condone)\b"
    r"|\b(?:can't|cannot|unable to) (?:assist|help) (?:you )?with (?:that|this|your request)\b",
    re.IGNORECASE,
)
_CHINESE = re.compile(
    r"(?:抱歉|对不起|很遗憾|不好意思|遗憾)[^。！？\n]{0,30}(?:无法|不能|不可以|没办法|不便|不会)"
    r"|我(?:无法|不能|不可以|没有办法|没办法|不会|不便)(?:为您|为你|给您|给你|协助|帮|提供|回答|满足|参与|支持|生成|写|创作|讨论|继续|完成)"
    r"|作为(?:一个|一名|一款)?\s?(?:AI|人工智能|语言模型|大型语言模型|智能助手)[^。！？\n]{0,40}(?:无法|不能|不会|不可以)"
    r"|(?:无法|不能|难以)(?:满足|协助|提供|完成)(?:您|你|这|该|此)"
    r"|违反[^。！？\n]{0,20}(?:政策|规定|准则|原则|规范)"
    r"|(?:拒绝|不予)(?:提供|回答|协助)",
    re.IGNORECASE,
)


def needs_refusal_question(level: int | None, response: str, settings: LabelSettings) -> bool:
    """Whether the judge is asked about a refusal: negative feedback on a reply that looks like one.

    >>> needs_refusal_question(1, "I cannot help with that.", LabelSettings(refusal_max_chars=10))
    False
    """
    if level not in NEGATIVE_LEVELS or not settings.refusal_validation:
        return False
    return looks_like_refusal(response, settings.refusal_max_chars, settings.refusal_opening_chars)


def looks_like_refusal(response: str, max_chars: int = MAX_CHARS, opening_chars: int = OPENING_CHARS) -> bool:
    """Whether a reply may be a refusal: a cue in its first `opening_chars`, and no longer than `max_chars`.

    A refusal says so early. A Chinese character counts as three.

    >>> looks_like_refusal("I'm sorry, but I can't help with that."), looks_like_refusal("抱歉，我无法提供这类内容。")
    (True, True)
    >>> looks_like_refusal("I'm sorry for the confusion! Here is the corrected table.")
    False
    """
    if len(response) + 2 * len(_CJK.findall(response)) > max_chars:
        return False
    opening = response[:opening_chars].replace("\u2019", "'")
    return bool(_ENGLISH.search(opening) or _CHINESE.search(opening))
