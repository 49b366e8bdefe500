"""A report as one self-contained HTML page: headings, text, tables, pictures; nothing is loaded from elsewhere."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #8884; text-align: left; vertical-align: top; }
td.number { text-align: right; }
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
        self._parts.append(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

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
