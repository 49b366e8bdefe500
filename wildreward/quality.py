"""What is not fit to train on: requests a text model cannot serve, personal data, and what is too short or too long.

The intent is that of WildReward's filters: a reply to "draw a cat" or "what does the attached file say" is judged by
what the assistant can do, not by how well it did it. The cues are English and Chinese; they look at the prompt, except
where it says otherwise.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wildreward.conversations import Message
from wildreward.languages import units
from wildreward.settings.label import LabelSettings


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


_PICTURE = r"(?:images?|pictures?|photos?|photographs?|drawings?|illustrations?|paintings?|wallpapers?|logos?|selfies?)"

IMAGE_GENERATION = _any(
    rf"\b(?:generate|create|make|design|draw|paint|show|give|send|produce|render)\b(?: \w+){{0,4}} {_PICTURE}\b"
    r"(?!-?(?: (?:class|process\w*|classif\w*|upload\w*|gallery|tags?|component|file|recognition|url|prompts? for))\b)",
    r"\b(?:draw|sketch|paint|illustrate) (?:me |us )?(?:a|an|the|some|my)\b(?! (?:conclusions?|parallels?|comparisons?"
    r"|distinction|line between|lesson|inference|connection|attention|table|graph|plot|chart|diagram|picture of))",
    r"\b(?:midjourney|stable ?diffusion|dall[- ]?e|novelai|comfyui|text[- ]to[- ]image|image prompts?)\b",
    r"画(?:一|个|两|几|幅|张|只)|(?:帮我|给我|请)画|画(?:出来|图|画)|绘(?:制|画)一?(?:张|幅|个)|文生图",
    r"(?:生成|制作|创作|设计|做|来|发|给我)(?:一|几|两)?(?:张|幅|个)?[^。，！？\n]{0,12}"
    r"(?:图片|图像|照片|插画|海报|头像|壁纸|logo)(?!的?(?:代码|处理|分类|识别|上传|地址))",
)
SEARCH = _any(
    r"\b(?:browse|search|surf) (?:the )?(?:web|internet|online|google)\b|\bgoogle (?:it|this|that|for)\b",
    r"\blook (?:it |this |that )?up (?:online|on the (?:web|internet))\b|\b(?:latest|breaking|today'?s|recent) news\b",
    r"\b(?:current|today'?s|tomorrow'?s) (?:weather|temperature|stock price|exchange rate|price of)\b",
    r"\b(?:what(?:'s| is) the|give me (?:a|the|some)|(?:send|provide) (?:me )?(?:a|the)) (?:\w+ )?(?:links?|urls?)\b",
    r"搜索一下|搜一下|查一下|上网(?:查|搜)|联网|百度一下|最新(?:的)?(?:新闻|消息|资讯)|(?:今天|明天|现在)[^。\n]{0,6}(?:天气|气温|股价)",
    r"(?:给我|发我|发给我|提供)[^。，\n]{0,8}(?:链接|网址)",
)
_LINK = re.compile(
    r"\b(?:https?://|www\.)(?!localhost|127\.0\.0\.1|0\.0\.0\.0|(?:www\.)?example\.|(?:www\.)?w3\.org)\S+", re.I
)

IDENTITY = _any(
    r"\bwho (?:are|r) (?:you|u)\b|\bwhat(?:'s| is) your name\b|\bintroduce yourself\b|\bwhat are you\s*\?",
    r"\bare you (?:an? )?(?:ai|a\.i\.|robot|bot|human|real|person|machine|chat ?gpt|gpt[- ]?\d?|claude|gemini|llama"
    r"|siri|alexa|openai|language model|conscious|sentient)\b",
    r"\b(?:which|what) (?:ai |language )?(?:model|version|llm|gpt)(?: \w+){0,2} (?:are|is|do) (?:you|this)\b",
    r"\bwho (?:made|created|trained|developed|built|owns) you\b|\byour (?:knowledge|training) (?:cut-?off|data)\b",
    r"你是谁|你的名字|你叫什么|你的身份|介绍(?:一下)?(?:你|您)自己|自我介绍一下你|谁(?:开发|创造|训练|制造)(?:了|的)?你",
    r"(?:你|您)是(?:不是)?(?:一个|个)?(?:ai|人工智能|机器人|人类|真人|chatgpt|gpt|文心|什么模型|哪个模型|什么版本)",
)
_FILE = (
    r"(?:files?|documents?|pdfs?|images?|pictures?|photos?|screenshots?|spreadsheets?|excel|csv|word doc\w*|slides?)"
)

ATTACHMENT = _any(
    rf"\battached (?:\w+ )?{_FILE}\b|\bsee (?:the )?attach\w+|\b(?:the|my|in|this) attachments?\b",
    r"\battached (?:is|are)\b",
    rf"\b(?:i(?:'ve| have)?|just) (?:uploaded|attached)\b|\buploaded (?:\w+ )?{_FILE}\b",
    r"\bth(?:is|ese) (?:pdfs?|images?|pictures?|screenshots?|photos?|scans?)\b",
    r"\bin the (?:image|picture|screenshot|photo|pdf)\b",
    r"\b(?:image|picture|screenshot|photo) (?:above|below|attached)\b",
    r"附件|上传(?:了|的)(?:文件|图片|文档|照片|表格)?|(?:这|那)(?:张|幅|个)(?:图|照片|截图|pdf|文件|文档)",
    r"截图|看图|如图|图(?:中|里|上)(?:的|是|有)",
)
MEDIA = _any(
    r"\bplay (?:the|this|a|some|that|me) (?:\w+ )?(?:video|song|music|clip|audio|movie)\b|\bwatch this\b",
    r"\blisten to (?:this|the (?:audio|recording|song))\b",
    r"\b(?:this|the|my) (?:audio|video|voice) (?:file|clip|recording)\b",
    r"\btranscribe (?:this|the|my)\b|\b(?:summari[sz]e|watch|transcribe) (?:this|the) (?:youtube )?video\b",
    r"播放(?:视频|音乐|歌曲|一首)|听(?:一下)?这(?:段|首)|看(?:一下)?(?:这个|这段)?视频|这(?:段|个)(?:音频|录音|视频)",
)
PERSONAL = re.compile(
    r"[\w.+-]+@(?!example\.|test\.|domain\.|email\.)[\w-]+\.[A-Za-z]{2,}"
    r"|(?<![\d.])1[3-9]\d{9}(?!\d)"  # a Chinese mobile number
    r"|(?<![\d-])\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?![\d-])"  # a North American telephone number
    r"|(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"  # a US social security number
    r"|(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\w)"  # a Chinese id card
    r"|(?<![\d-])(?:4\d{3}|5[1-5]\d{2})([ -]?)\d{4}\1\d{4}\1\d{4}(?![\d-])"  # a payment card
    r"|\+\d{1,3}[ -]?\d{2,4}[ -]\d{3,4}[ -]?\d{3,4}(?!\d)"  # an international telephone number
)

Parts = tuple[list[Message], str, str]
"""History, prompt and reply of a row."""


def drop_reason(row: Mapping[str, Any], settings: LabelSettings) -> str | None:
    """Why a WILDFB row is not kept: the first filter of settings.filters that objects; None keeps it.

    Only `messages` (ending with prompt and reply) and `language` are read.

    >>> messages = [{"role": "user", "content": "Draw me a cat"}, {"role": "assistant", "content": "I cannot."}]
    >>> drop_reason({"messages": messages, "language": "English"}, LabelSettings())
    'image_generation'
    """
    *history, prompt, response = row["messages"]
    parts = list(history), prompt["content"], response["content"]
    language = row.get("language")
    for name in settings.filters:
        if name == "language":
            objects = bool(settings.languages) and language not in settings.languages
        else:
            objects = _FILTERS[name](parts, settings)
        if objects:
            return name
    return None


def _searches(parts: Parts, settings: LabelSettings) -> bool:
    return bool(_LINK.search(parts[1]) or SEARCH.search(_edges(parts[1], settings.filter_edge_chars)))


def _asks_identity(parts: Parts, settings: LabelSettings) -> bool:
    return units(parts[1]) <= settings.max_identity_units and IDENTITY.search(parts[1]) is not None


def _is_personal(parts: Parts, _: LabelSettings) -> bool:
    """In anything the user wrote up to here: all of it would be in the row."""
    said = [message["content"] for message in parts[0] if message["role"] == "user"]
    return any(PERSONAL.search(text) for text in [*said, parts[1]])


def _is_short(parts: Parts, settings: LabelSettings) -> bool:
    return units(parts[1]) < settings.min_prompt_units or units(parts[2]) < settings.min_response_units


def _is_long(parts: Parts, settings: LabelSettings) -> bool:
    if len(parts[0]) > settings.max_history_messages:
        return True
    texts: Sequence[str] = [*(message["content"] for message in parts[0]), parts[1], parts[2]]
    return sum(map(units, texts)) > settings.max_total_units


def _prompt_matches(pattern: re.Pattern[str]) -> Callable[[Parts, LabelSettings], bool]:
    return lambda parts, settings: pattern.search(_edges(parts[1], settings.filter_edge_chars)) is not None


def _edges(prompt: str, chars: int) -> str:
    """Where a prompt says what it asks for: between start and end of a long one is the material it is about."""
    return prompt if len(prompt) <= 2 * chars else f"{prompt[:chars]}\n{prompt[-chars:]}"


_FILTERS: Mapping[str, Callable[[Parts, LabelSettings], bool]] = {
    "image_generation": _prompt_matches(IMAGE_GENERATION),
    "search_or_links": _searches,
    "identity_question": _asks_identity,
    "missing_attachment": _prompt_matches(ATTACHMENT),
    "media": _prompt_matches(MEDIA),
    "personal_data": _is_personal,
    "too_short": _is_short,
    "history_too_long": _is_long,
}
