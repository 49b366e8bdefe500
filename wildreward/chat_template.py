"""A chat template given as a jinja file (--chat-template), for a checkpoint whose tokenizer has none or a wrong one.

It is rendered as transformers renders a tokenizer's own: sandboxed, with `bos_token`, `raise_exception` and so on.
"""

from pathlib import Path
from typing import Any

from wildreward import storage
from wildreward.checkpoint import CHAT, check_files
from wildreward.errors import CheckpointError, DataError, UsageError
from wildreward.template import FILE_NAME, InputTemplate

PROBE = ({"role": "user", "content": "Which letter comes after w?"}, {"role": "assistant", "content": "x comes next"})
"""What every chat template must be able to render, the reply with it."""


def read_chat_template(path: str | None) -> str | None:
    """The jinja source of --chat-template. Raises UsageError for a file that is missing, no text or no jinja."""
    if path is None:
        return None
    if not storage.exists(path):
        raise UsageError(f"--chat-template {path}: no such file")
    try:
        source = storage.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--chat-template {path}: cannot be read: {error}") from None
    _check_syntax(source, path)
    return source


def _check_syntax(source: str, path: str) -> None:
    from jinja2 import Environment, TemplateSyntaxError, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class Generation(Extension):
        """transformers' own block, which marks what the assistant wrote."""

        tags = {"generation"}  # noqa: RUF012 jinja2's own type of it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    if not source.strip():
        raise UsageError(f"--chat-template {path}: the file is empty")
    try:
        Environment(extensions=["jinja2.ext.loopcontrols", Generation]).parse(source)
    except TemplateSyntaxError as error:
        raise UsageError(
            f"--chat-template {path}: line {error.lineno}: not a jinja template: {error.message}"
        ) from None


def check_given(directory: Path, template: str | None, chat_template: str | None) -> None:
    """What can be known of an ordinal checkpoint's template before loading it. Raises CheckpointError or UsageError."""
    if template is None and chat_template is None and not (directory / FILE_NAME).is_file():
        raise CheckpointError(f"{directory}: no {FILE_NAME}; without one give --template FILE or --chat-template FILE")
    check_files(str(directory), template, read_chat_template(chat_template))
    if template != CHAT and chat_template is None:
        InputTemplate.load(template or directory)


def check_renders(template: InputTemplate, tokenizer: Any, name: str) -> None:
    """Raises CheckpointError where a given chat template raises, or leaves out the reply, for one short exchange."""
    if template.chat_template is None:
        return
    try:
        text = template.render(PROBE, tokenizer)
    except DataError as error:
        raise CheckpointError(f"{name}: --chat-template cannot render a user's message and a reply: {error}") from None
    if PROBE[-1]["content"] not in text:
        raise CheckpointError(f"{name}: --chat-template leaves out the reply; it gave {text[:200]!r}")
