"""The JSON of a chat completion request. What all questions of a kind share is serialised once, in front."""

import json
from collections.abc import Sequence
from typing import Any

from wildreward.conversations import Message
from wildreward.judge.answers import TOP_LOGPROBS
from wildreward.settings.label import LabelSettings

CONTENT = '{"role": "user", "content": '


class RequestBodies:
    """Bodies for one model and its sampling settings."""

    def __init__(self, settings: LabelSettings) -> None:
        self._fields = _fields(settings)
        self._extra = settings.judge_extra_body
        self._heads: dict[tuple[str, float], bytes] = {}

    def make(self, question: Sequence[Message], temperature: float) -> bytes:
        """The body of a question of `judge.prompts`: the instructions, then the one message that differs.

        Always ASCII: a lone surrogate, which some logs hold, has no UTF-8.
        """
        instructions, user = question
        key = (instructions["content"], temperature)
        if key not in self._heads:
            self._heads[key] = self._head(instructions, temperature)
        return self._heads[key] + json.dumps(user["content"]).encode("ascii") + b"}]}"

    def _head(self, instructions: Message, temperature: float) -> bytes:
        fields = self._fields | {"temperature": temperature} | self._extra | {"messages": [dict(instructions)]}
        return (json.dumps(fields).removesuffix("]}") + ", " + CONTENT).encode("ascii")


def _fields(settings: LabelSettings) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": settings.judge_model}
    if "max_completion_tokens" not in settings.judge_extra_body:  # endpoints that know it refuse to get both
        fields["max_tokens"] = settings.judge_max_tokens
    if settings.judge_logprobs:
        fields |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    return fields
