"""Pictures of a sweep: parallel coordinates of its trials, and how much each setting matters."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wildreward.search_space import Knob
from wildreward.sweep_importance import Importances, position

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ABSENT = "(not used)"
"""Tick of a setting that a trial does not read."""


def parallel_coordinates(
    knobs: Sequence[Knob], rows: Sequence[Mapping[str, Any]], metric: str, higher_is_better: bool
) -> "Figure":
    """A line a trial over one axis a setting and, last, the metric, by which lines are coloured; the best on top."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    known = [row for row in rows if row.get(metric) is not None]
    values_N = np.array([row[metric] for row in known], dtype=float)
    heights = [_heights(knob, known) for knob in knobs] + [_unit(values_N)]
    figure = Figure(figsize=(max(7.0, 1.7 * len(heights)), 4.6), layout="constrained")
    axes = figure.add_subplot()
    colours = ScalarMappable(Normalize(values_N.min(), values_N.max()), "viridis" if higher_is_better else "viridis_r")
    best_last = np.argsort(values_N if higher_is_better else -values_N, kind="stable")
    for rank, place in enumerate(best_last):
        is_best = rank == len(best_last) - 1
        axes.plot(
            range(len(heights)),
            [height[place] for height in heights],
            color=colours.to_rgba(values_N[place]),
            linewidth=3.0 if is_best else 1.2,
            marker="o",
            markersize=5 if is_best else 3,
            alpha=1.0 if is_best else 0.75,
        )
    _axes_of_settings(axes, knobs, known, metric, values_N)
    figure.colorbar(colours, ax=axes, label=metric, pad=0.02)
    return figure


def _axes_of_settings(
    axes: "Axes", knobs: Sequence[Knob], rows: Sequence[Mapping[str, Any]], metric: str, values_N: Any
) -> None:
    """Vertical lines with the values of each setting written beside them."""
    axes.set_xlim(-0.15, len(knobs) + 0.45)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([])
    axes.set_xticks(range(len(knobs) + 1), [*(knob.name.replace("_", "\n") for knob in knobs), metric])
    for place, knob in enumerate(knobs):
        axes.axvline(place, color="0.4", linewidth=0.8)
        for height, text in _ticks(knob, rows):
            _write(axes, place, height, text)
    axes.axvline(len(knobs), color="0.4", linewidth=0.8)
    for height, value in ((0.0, values_N.min()), (1.0, values_N.max())):
        _write(axes, len(knobs), height, f"{value:.3f}")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _write(axes: "Axes", place: float, height: float, text: str) -> None:
    box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    axes.text(place + 0.04, height, text, fontsize=8, va="center", bbox=box, zorder=5)


def _span(knob: Knob, rows: Sequence[Mapping[str, Any]]) -> tuple[float, float, bool]:
    """Lowest and highest position on the axis, and whether a place is needed for trials without the setting."""
    absent = any(row[knob.name] is None for row in rows)
    if knob.kind in ("grid", "choice"):
        return (-1.0 if absent else 0.0), max(len(knob.values) - 1.0, 0.0), absent
    low, high = position(knob, knob.values[0]), position(knob, knob.values[1])
    return (low - 0.25 * (high - low) if absent else low), high, absent


def _heights(knob: Knob, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    low, high, _ = _span(knob, rows)
    found = [low if row[knob.name] is None else position(knob, row[knob.name]) for row in rows]
    return [(value - low) / (high - low) if high > low else 0.5 for value in found]


def _ticks(knob: Knob, rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    low, high, absent = _span(knob, rows)
    named = knob.values if knob.kind in ("grid", "choice") else knob.values[:2]
    places = [(position(knob, value), f"{value:.3g}" if isinstance(value, float) else str(value)) for value in named]
    found = [((place - low) / (high - low) if high > low else 0.5, text) for place, text in places]
    return [*found, (0.0, ABSENT)] if absent else found


def _unit(values_N: Any) -> list[float]:
    width = float(np.ptp(values_N))
    return [float((value - values_N.min()) / width) if width else 0.5 for value in values_N]


def importance_bars(found: Importances) -> "Figure":
    """A bar a setting, the most important on top, each with the middle 90 percent of the resamples."""
    from matplotlib.figure import Figure

    settings = found.settings[::-1]
    figure = Figure(figsize=(7.0, 1.3 + 0.42 * len(settings)), layout="constrained")
    axes = figure.add_subplot()
    values = [one.value for one in settings]
    # A mean over few skewed resamples may lie outside their middle 90 percent.
    below = [max(0.0, one.value - one.low) for one in settings]
    above = [max(0.0, one.high - one.value) for one in settings]
    axes.barh([one.name for one in settings], values, xerr=[below, above], color="#4477aa", ecolor="0.3", capsize=3)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel("growth of the squared error when shuffled, in variances of the metric")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure
