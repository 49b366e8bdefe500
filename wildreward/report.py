"""A report as one self-contained HTML page: headings, text, tables, pictures; nothing is loaded from elsewhere."""

import base64
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; white-space: nowrap; }
td:first-child { white-space: nowrap; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #8884; text-align: left; vertical-align: top; }
td.number { text-align: right; }
.wide { overflow-x: auto; }
details { border: 1px solid #8884; border-radius: .3rem; padding: .3rem .8rem; margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
blockquote { margin: .3rem 0 .6rem; padding: 0 .8rem; border-left: 3px solid #8886; }
blockquote b { opacity: .75; }
blockquote pre { font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; background: #fff; } figcaption { opacity: .75; }
"""


class Report:
    """Collects parts in order; `html()` gives the page. All text is escaped."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> None:
        """Numbers are right-aligned; floats are shown with four significant digits."""
        head = "".join(f"<th>{html.escape(header)}</th>" for header in headers)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
        table = f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        self._parts.append(f'<div class="wide">{table}</div>')

    def quote(self, name: str, text: str) -> None:
        """What somebody wrote, with its line breaks, under a name; right-to-left scripts are shown as such."""
        said = f'<pre dir="auto">{html.escape(text)}</pre>'
        self._parts.append(f"<blockquote><b>{html.escape(name)}</b>{said}</blockquote>")

    @contextmanager
    def folded(self, title: str) -> Iterator[None]:
        """What is added inside the block is shown when its title is clicked; no script is needed."""
        self._parts.append(f"<details><summary>{html.escape(title)}</summary>")
        yield
        self._parts.append("</details>")

    def figure(self, figure: Any, caption: str) -> None:
        """A `matplotlib.figure.Figure`, embedded as PNG."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        data, text = base64.b64encode(buffer.getvalue()).decode(), html.escape(caption)
        image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
        self._parts.append(f"<figure>{image}<figcaption>{text}</figcaption></figure>")

    def html(self) -> str:
        title = html.escape(self.title)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{''.join(self._parts)}</body></html>\n"
        )


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{html.escape(str(value))}</td>"
    return f'<td class="number">{value:,}</td>' if isinstance(value, int) else f'<td class="number">{value:.4g}</td>'
