"""Which language a text is in, under the English names WildChat uses ("English", "Chinese", ...)."""

import re
from collections.abc import Sequence

MAX_CHARS = 4000
"""What is read of a text: more does not change the answer, and costs time."""

_NAMES = {
    "af": "Afrikaans", "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan",
    "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "gl": "Galician",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh", "ko": "Korean",
    "la": "Latin", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ms": "Malay", "nb": "Bokmal",
    "nl": "Dutch", "nn": "Nynorsk", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sl": "Slovene", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "xh": "Xhosa", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip

_CODES = {name: code for code, name in _NAMES.items()}

_UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")

OTHER = "Other"
UNKNOWN = "Unknown"


def detect(texts: Sequence[str]) -> str:
    """Name of the language most of `texts` is in; `Other` for one without a name here, `Unknown` for no letters.

    >>> detect(["Could you explain how photosynthesis works?"]), detect(["请帮我写一封道歉信"]), detect(["123"])
    ('English', 'Chinese', 'Unknown')
    """
    text = "\n".join(texts)[:MAX_CHARS]
    if not any(sign.isalpha() for sign in text):
        return UNKNOWN
    from py3langid import classify

    code, _ = classify(text)
    return _NAMES.get(str(code), OTHER)


def code_of(name: str) -> str | None:
    """The ISO 639-1 code of a language's name, None for a name that is not known here.

    >>> code_of("Chinese"), code_of("Klingon")
    ('zh', None)
    """
    return _CODES.get(name)


def units(text: str) -> int:
    """Length of a text in words, where a Chinese, Japanese or Korean character counts as a word.

    >>> units("How are you?"), units("你好 world")
    (3, 3)
    """
    return sum(1 for _ in _UNIT.finditer(text))
