"""Which reply of an input row is scored: of `messages` the last, of `prompt` and `response` the response, of a WildChat
`conversation` its last assistant message (what follows it is left out).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from wildreward.errors import DataError
from wildreward.scorer import Unscored, problem_of

LAYOUTS = (("messages",), ("prompt", "response"), ("conversation",))
ALLOWED = "messages; or prompt and response (and history); or conversation"


def check_columns(path: str, columns: Iterable[str]) -> None:
    """Raises DataError for a file without any of the layouts, naming its columns."""
    columns = list(columns)
    if not any(set(layout) <= set(columns) for layout in LAYOUTS):
        found = ", ".join(columns) or "none"
        raise DataError(f"{path}: nothing to score. Its columns are: {found}. Columns needed: {ALLOWED}")


def id_of(values: Mapping[str, Any]) -> str | None:
    """`id`, else `conversation_hash`, else nothing."""
    found = next((values[name] for name in ("id", "conversation_hash") if values.get(name) is not None), None)
    return None if found is None else str(found)


def conversation_of(values: Mapping[str, Any]) -> list[dict[str, str]] | Unscored:
    """The conversation that ends with the reply to score, or why there is none.

    >>> conversation_of({"prompt": "2+2?", "response": "4"})
    [{'role': 'user', 'content': '2+2?'}, {'role': 'assistant', 'content': '4'}]
    >>> conversation_of({"prompt": "2+2?"}).reason
    'missing_field'
    """
    found = next((layout for layout in LAYOUTS if all(values.get(name) is not None for name in layout)), None)
    if found is None:
        present = ", ".join(name for name, value in values.items() if value is not None) or "none"
        return Unscored("missing_field", f"fields with a value: {present}; needed: {ALLOWED}")
    messages = _messages(values, found)
    problem = problem_of(messages)
    if problem is not None:
        return problem
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _messages(values: Mapping[str, Any], layout: tuple[str, ...]) -> Any:
    if layout == ("messages",):
        return values["messages"]
    if layout == ("conversation",):
        return _until_last_reply(values["conversation"])
    prompt, history = values["prompt"], values.get("history") or []
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(asked, list) or not isinstance(history, list):
        return asked if isinstance(history, list) else history
    return [*history, *asked, {"role": "assistant", "content": values["response"]}]


def _until_last_reply(conversation: Any) -> Any:
    if not isinstance(conversation, list):
        return conversation
    roles = [message.get("role") if isinstance(message, dict) else None for message in conversation]
    last = max((place for place, role in enumerate(roles) if role == "assistant"), default=len(roles) - 1)
    return conversation[: last + 1]
