"""A report as one self-contained HTML page: headings, text, tables, pictures; nothing is loaded from elsewhere."""

import base64
import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, p, figcaption { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; white-space: nowrap; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #8884; text-align: left; vertical-align: top; }
td.number { text-align: right; } td.figure { white-space: nowrap; } td.words { min-width: 11rem; }
summary { cursor: pointer; font-weight: 600; }
details { border: 1px solid #8884; border-radius: .3rem; padding: .3rem .8rem; margin: .5rem 0; }
blockquote { margin: .3rem 0 .6rem; padding: 0 .8rem; border-left: 3px solid #8886; }
blockquote b { opacity: .75; }
blockquote pre { font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
pre.code { border: 1px solid #8884; border-radius: .3rem; padding: .5rem .8rem .5rem 2.8rem; text-indent: -2rem; }
pre.code { margin: -.6rem 0 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
pre.code span { white-space: nowrap; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; background: #fff; } figcaption { opacity: .8; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
.pictures { align-items: start; } .pictures figure { margin: 0; } .pictures img { width: 100%; }
@media (prefers-color-scheme: dark) { figure img { filter: invert(.92) hue-rotate(180deg); } }
@media (max-width: 40rem) { body { margin: 1rem auto; } th, td { padding: .2rem .4rem; font-size: 13px; } }
"""

_FIGURE = re.compile(r"[-+]?\d[\d.]*( \[.*\])?$")
"""A number, with its interval if it has one: never broken over lines."""
_WORDS = 24
"""A cell of more characters is broken over lines, but not narrower than a few words."""


@dataclass(frozen=True)
class Picture:
    """A `matplotlib.figure.Figure`, what is said under it, and its content in words for who cannot see it."""

    figure: Any
    caption: str
    alt: str
    name: str = ""
    """A picture with a name is kept in `Report.images` too, to be written as a file."""


class Report:
    """Collects parts in order; `html()` gives the page. All text is escaped."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.images: dict[str, bytes] = {}
        """PNG of every picture that has a name."""
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(
        self, headers: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", folded: bool = False
    ) -> None:
        """Numbers are right-aligned; floats are shown with four significant digits. `folded`: opened by a click."""
        head = "".join(f"<th>{html.escape(header)}</th>" for header in headers)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        title = f"<caption>{html.escape(caption)}</caption>" if caption and not folded else ""
        table = f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        with self.folded(caption) if folded else nullcontext():
            self._parts.append(table)

    def code(self, text: str) -> None:
        """A line to be copied into a shell; a long one is broken where there is no room for it."""
        words = (f"<span>{word}</span>" if word.startswith("--") else word for word in html.escape(text).split(" "))
        self._parts.append(f'<pre class="code">{" ".join(words)}</pre>')

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
        """A `matplotlib.figure.Figure`, embedded as PNG, over the whole width."""
        self._parts.append(self._figure(Picture(figure, caption, caption)))

    def pictures(self, pictures: Iterable[Picture]) -> None:
        """Side by side where there is room, below one another on a phone."""
        self._parts.append(f'<div class="pictures">{"".join(map(self._figure, pictures))}</div>')

    def _figure(self, picture: Picture) -> str:
        buffer = io.BytesIO()
        # A figure with a layout engine fits already; "tight" would draw it a second time.
        fit = "tight" if picture.figure.get_layout_engine() is None else None
        picture.figure.savefig(buffer, format="png", dpi=130, bbox_inches=fit)
        if picture.name:
            self.images[picture.name] = buffer.getvalue()
        data, alt = base64.b64encode(buffer.getvalue()).decode(), html.escape(picture.alt)
        image = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{html.escape(picture.caption)}</figcaption></figure>"

    def html(self) -> str:
        title = html.escape(self.title)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{''.join(self._parts)}</body></html>\n"
        )


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = html.escape(str(value))
        if _FIGURE.match(text):
            return f'<td class="figure">{text}</td>'
        return f'<td class="words">{text}</td>' if len(text) > _WORDS else f"<td>{text}</td>"
    return f'<td class="number">{value:,}</td>' if isinstance(value, int) else f'<td class="number">{value:.4g}</td>'
