"""Rows in the layout of WildReward's data set WildFB: JSON, one object a line.

    id             conversation_hash + "_turn" + turn; it repeats where the input holds a conversation twice
    history        the messages before the judged exchange: [{"role", "content"}], the oldest first, possibly none
    text           the whole input of the reward model as one text: instructions, history, query, response
    messages       the judged exchange alone: the user's message and the assistant's reply
    user_feedback  the user's next message, as a message: {"role": "user", "content"}
    label          class 1..4: rejection, correction, positive engagement, satisfaction

Source: THU-KEG/WildReward, collect_rm_data: 00.preprocess_wildchat.py makes id, history and messages (and `user_query`,
later renamed user_feedback), 08.split.py makes text and the six keys in this order, README.md lists them under "Output
Format"; train_rm/tokenize_data.py trains on `text` and `label` alone. The wording of `text` here is our own, as it
belongs to a model and not to the layout: whoever wants to score with a published WildReward checkpoint gives that
model's wording as a template file. History is rendered as there ("role: content" lines), so that this gives its text.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from wildreward import storage
from wildreward.errors import UsageError

NO_HISTORY = "No previous context."

TEMPLATE = """Rate how content the user is with the assistant's last reply, as a whole number from 1 to 4.
1: turns the reply down. 2: points out an error in it. 3: goes on with interest. 4: is satisfied.

[conversation so far]
{history}

[user]
{query}

[assistant]
{response}
"""

_PLACE = re.compile(r"\{(history|query|response)\}")


def wildfb_record(row: Mapping[str, Any], template: str = TEMPLATE) -> dict[str, Any]:
    """The object for one WILDFB row of four classes."""
    *history, query, response = ({name: message[name] for name in ("role", "content")} for message in row["messages"])
    return {
        "id": f"{row['conversation_hash']}_turn{row['turn']}",
        "history": history,
        "text": render(template, history, query["content"], response["content"]),
        "messages": [query, response],
        "user_feedback": {"role": "user", "content": row["follow_up"]},
        "label": row["label"],
    }


def render(template: str, history: list[dict[str, str]], query: str, response: str) -> str:
    """The template with its places filled; braces in what people wrote stay what they are.

    >>> render("{history}|{query}|{response}", [], "What is {query}?", "{x}")
    'No previous context.|What is {query}?|{x}'
    """
    lines = "".join(f"{message['role']}: {message['content']}\n" for message in history)
    values = {"history": lines if lines.strip() else NO_HISTORY, "query": query, "response": response}
    return _PLACE.sub(lambda place: values[place[1]], template).strip()


def json_line(record: Mapping[str, Any]) -> bytes:
    """One line, in ASCII: some readers take U+2028 or U+0085 inside a text for the end of a line."""
    return json.dumps(record).encode("ascii") + b"\n"


def read_template(path: str | None) -> str:
    """The template of `export_template`. Raises UsageError for a file that is unreadable or lacks a place."""
    if path is None:
        return TEMPLATE
    if not storage.exists(path):
        raise UsageError(f"export_template: found {path!r}; there is no such file")
    try:
        template = storage.read_text(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"export_template: {path} is not UTF-8 text: {error}") from None
    missing = [f"{{{name}}}" for name in ("history", "query", "response") if f"{{{name}}}" not in template]
    if missing:
        raise UsageError(f"export_template: {path} lacks {' and '.join(missing)}, where these are to go")
    return template
