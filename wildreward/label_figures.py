"""The pictures of a label run's report, as `matplotlib.figure.Figure`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wildreward.scale import LEVEL_NAMES, LEVELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#b2452f", "#e09a5f", "#c9c9c9", "#86b6d9", "#2f6ea3")
"""Levels 1 to 5: red for what was turned down, blue for what was welcome."""

MAX_NAME_CHARS = 30


def bars(counts: Mapping[str, int], unit: str) -> "Figure":
    """One bar a name."""
    figure = _figure(8, 0.6 + 0.34 * max(1, len(counts)))
    axes = figure.subplots()
    drawn = axes.barh(list(counts), list(counts.values()), color="#4878a8")
    axes.bar_label(drawn, [f"{count:,}" for count in counts.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(unit)
    return figure


def levels(counts: Mapping[str, Mapping[str, int]]) -> "Figure":
    """Levels as judged beside levels after refinement."""
    names = [f"{level} {name}" for level, name in LEVEL_NAMES.items()]
    return _grouped(names, {kind: [found[str(level)] for level in LEVELS] for kind, found in counts.items()}, "turns")


def lengths(counts: Mapping[str, Mapping[str, int]]) -> "Figure":
    series = {kind: list(found.values()) for kind, found in counts.items()}
    return _grouped([f"≤ {int(edge):,}" for edge in counts["prompt"]], series, "rows")


def shares(groups: Mapping[str, Mapping[str, int]]) -> "Figure":
    """For each group the shares of the five levels, as judged and after refinement."""
    figure = _figure(9, 1.2 + 0.32 * len(groups))
    names = [_plain(name) for name in groups]
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), ("judged", "refined"), strict=True):
        left = [0.0] * len(groups)
        for level, colour in zip(LEVELS, COLOURS, strict=True):
            widths = [_share(counts, kind, level) for counts in groups.values()]
            axes.barh(range(len(names)), widths, left=left, color=colour, label=f"{level}")
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set(xlim=(0, 1), xlabel="share of turns", title=kind, yticks=range(len(names)), yticklabels=names)
    axes.invert_yaxis()
    axes.legend(title="level", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def pace(intervals: Sequence[tuple[int, int, float]]) -> "Figure":
    """Turns per second over the time of the day: (start, seconds, rate) of every interval."""
    figure = _figure(9, 2.8)
    axes = figure.subplots()
    starts = [datetime.fromtimestamp(start, UTC).replace(tzinfo=None) for start, _, _ in intervals]
    width_s = intervals[0][1]
    axes.bar(starts, [rate for _, _, rate in intervals], width=width_s / 86400, align="edge", color="#4878a8")  # type: ignore[arg-type]  # matplotlib takes dates
    axes.set_ylabel("turns per second")
    figure.autofmt_xdate()
    return figure


def _share(counts: Mapping[str, int], kind: str, level: int) -> float:
    return counts.get(f"{kind}_{level}", 0) / max(1, sum(counts.get(f"{kind}_{other}", 0) for other in LEVELS))


def _plain(name: str) -> str:
    """A name of the log's as a picture can show it: its font has no signs beyond Latin, and `$` begins a formula."""
    shown = name.encode("ascii", "replace").decode().replace("$", r"\$")
    return shown if len(shown) <= MAX_NAME_CHARS else shown[: MAX_NAME_CHARS - 1] + "…"


def _grouped(names: Sequence[str], series: Mapping[str, Sequence[int]], unit: str) -> "Figure":
    figure = _figure(8, 3.2)
    axes = figure.subplots()
    width = 0.8 / len(series)
    for place, (kind, counts) in enumerate(series.items()):
        axes.bar([x + (place - (len(series) - 1) / 2) * width for x in range(len(names))], counts, width, label=kind)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_ylabel(unit)
    axes.legend()
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))
