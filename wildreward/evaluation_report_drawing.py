"""The shapes that an evaluation's pictures are drawn in: curves with intervals, bars, histograms, a confusion matrix.

Each function takes plain values as they stand in results.json and gives a figure of one panel, sized to be read on a
phone. The model is blue, length orange, random grey, on every picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from wildreward.bootstrap import MIN_GROUPS

COLORS = {"model": "#2563eb", "length": "#c2670c", "random": "#6b7280"}
BESIDE = {"before calibration": "#6b7280", "after": "#2563eb"}
"""Series of which each has dots and intervals of its own, in colours that say what they are."""
OTHERS = ("#2563eb", "#c2670c", "#15803d", "#a21caf", "#b91c1c", "#0e7490", "#854d0e", "#4d7c0f", "#7c3aed", "#334155")

CurvePoint = Mapping[str, Any]
"""x, count, value, low, high; see wildreward/benchmarks/curves.py."""


def panel(height: float = 3.5) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name of a line to its points."""


def lines(axes: Axes, series: Series) -> None:
    """A line for each, with dots where they are few."""
    for place, (title, points) in enumerate(series.items()):
        marker = "o" if len(points) < 25 else None
        axes.plot(*zip(*points, strict=True), color=OTHERS[place], label=title, marker=marker, markersize=3)


def legend_above(axes: Axes) -> None:
    """Where there is more than one line."""
    if len(axes.lines) > 1:
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def ends_in_words(series: Series) -> str:
    """For who cannot see the picture.

    >>> ends_in_words({"loss": [(1, 0.5), (2, 0.25)]})
    'loss: 0.5 at step 1, 0.25 at step 2'
    """
    return "; ".join(
        f"{title}: {points[0][1]:.4g} at step {points[0][0]}, {points[-1][1]:.4g} at step {points[-1][0]}"
        for title, points in series.items()
    )


def curves(
    series: Mapping[str, Sequence[CurvePoint]], reference: float | None = None, reliability_from: float | None = None
) -> Figure:
    """A line for each series with its intervals; dots grow with the count. Points without a value are left out, and
    those about fewer than MIN_GROUPS items are pale and off the line."""
    figure, axes = panel()
    if reliability_from is not None:
        axes.plot([reliability_from, 1], [reliability_from, 1], color="#9ca3af", linewidth=1, linestyle="--")
        axes.set(xlim=(reliability_from - 0.02, 1.02), ylim=(-0.02, 1.02))
    if reference is not None:
        axes.axhline(reference, color="#9ca3af", linewidth=1, linestyle="--")
    for place, (name, points) in enumerate(series.items()):
        known = [point for point in points if point["value"] is not None]
        color = (COLORS | BESIDE).get(name, OTHERS[place % len(OTHERS)])
        sure = [point for point in known if point["count"] >= MIN_GROUPS]
        axes.plot([p["x"] for p in sure], [p["value"] for p in sure], color=color, linewidth=1.4, label=name)
        if name in COLORS and name != "model":
            continue
        most = max((point["count"] for point in known), default=1)
        sizes = [8 + 40 * point["count"] / most for point in known]
        shades = [to_rgba(color, 1.0 if point["count"] >= MIN_GROUPS else 0.35) for point in known]
        x, y = [point["x"] for point in known], [point["value"] for point in known]
        axes.scatter(x, y, s=sizes, c=shades, zorder=3)
        _intervals(axes, known, color)
    if len(series) > 1:
        axes.legend(frameon=False)
    return figure


def _intervals(axes: Axes, points: Sequence[CurvePoint], color: str) -> None:
    sure = [point for point in points if point["low"] is not None]
    axes.vlines([p["x"] for p in sure], [p["low"] for p in sure], [p["high"] for p in sure], color=color, alpha=0.5)


@dataclass(frozen=True)
class Bar:
    """One bar: its name, value, interval where there is one, and the baseline beside it."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    length: float | None = None


def bars(found: Sequence[Bar], xlabel: str, reference: float | None = None) -> Figure:
    """Lying bars with intervals, the first on top; length alone is a mark beside each."""
    figure, axes = panel(height=0.9 + 0.36 * len(found))
    places = np.arange(len(found))
    axes.barh(places, [bar.value for bar in found], height=0.62, color=COLORS["model"], alpha=0.75, label="model")
    for place, bar in zip(places, found, strict=True):
        if bar.low is not None and bar.high is not None:
            axes.hlines(place, bar.low, bar.high, color="black", linewidth=1.3)
    marks = {place: bar.length for place, bar in zip(places, found, strict=True) if bar.length is not None}
    if marks:
        x, y = list(marks.values()), list(marks)
        axes.scatter(x, y, marker="D", s=28, color=COLORS["length"], label="length alone", zorder=4)
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    if reference is not None:
        axes.axvline(reference, color="#6b7280", linewidth=1, linestyle="--")
    axes.set_yticks(places, [bar.label for bar in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlabel(xlabel)
    return figure


def histogram(found: Mapping[str, Any], xlabel: str, ylabel: str) -> Figure:
    """Outlines of counts on common edges, as the share of each series, so that series of any size compare."""
    figure, axes = panel()
    for place, (name, counts) in enumerate(found["series"].items()):
        total = sum(counts)
        if total:
            shares = np.array(counts) / total
            axes.stairs(
                shares, found["edges"], color=OTHERS[place % len(OTHERS)], linewidth=1.5, label=f"{name} ({total})"
            )
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False, fontsize=8)
    return figure


def margins(found: Mapping[str, Any]) -> Figure:
    """Counts of margins: those of right decisions in the model's colour, the wrong ones in grey."""
    figure, axes = panel()
    edges, [counts] = np.array(found["edges"]), found["series"].values()
    for name, side, color in (
        ("right", edges[:-1] >= 0, COLORS["model"]),
        ("wrong", edges[:-1] < 0, COLORS["random"]),
    ):
        axes.bar(edges[:-1][side], np.array(counts)[side], np.diff(edges)[side], align="edge", color=color, label=name)
    axes.axvline(0, color="black", linewidth=1)
    axes.set(xlabel="score of the better reply - score of the worse one", ylabel="pairs")
    axes.legend(frameon=False)
    return figure


def confusion(counts: Sequence[Sequence[int]]) -> Figure:
    """Shaded by the share of the true class; the numbers are counts."""
    figure, axes = panel(height=4)
    counts_CC = np.array(counts)
    shares_CC = counts_CC / np.maximum(counts_CC.sum(1, keepdims=True), 1)
    axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts_CC):
        color = "white" if shares_CC[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color)
    ticks = range(len(counts_CC))
    axes.set_xticks(ticks, [str(k + 1) for k in ticks])
    axes.set_yticks(ticks, [str(k + 1) for k in ticks])
    axes.set(xlabel="predicted class", ylabel="class")
    return figure
