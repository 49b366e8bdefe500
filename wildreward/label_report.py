"""report.html of a label run: funnel, levels before and after refinement, lengths and languages."""

from collections.abc import Mapping, Sequence
from typing import Any

from wildreward.report import Report
from wildreward.scale import LEVEL_NAMES

MAX_BARS = 15
"""Reasons or languages in one picture; the rest is one bar."""


def label_report(summary: Mapping[str, Any]) -> Report:
    """The report of a run from its summary.json."""
    report = Report("WildFB labels")
    report.heading("Funnel")
    report.text(
        "Every conversation, turn and row that came in is counted once: kept, or under the reason it was left out."
    )
    funnel = funnel_counts(summary)
    report.figure(_bars(funnel, "count"), "From conversations to rows")
    report.table(["level", "outcome", "count"], outcomes(summary), "Where everything went")
    report.heading("Labels")
    report.figure(_levels(summary["levels"]), "Feedback levels as judged and after refinement")
    report.table(["level", "name", "judged", "refined"], _level_rows(summary["levels"]), "Feedback levels")
    report.table(["class", "rows"], list(summary["classes"].items()), "Classes of the rows kept")
    report.table(["source", "rows"], list(summary["sources"].items()), "Where the labels of the rows kept come from")
    report.table(["judge", "count"], list(summary["judge"].items()), "What was asked of the judge")
    report.heading("Lengths and languages")
    report.figure(_lengths(summary["lengths_chars"]), "Lengths of prompts and replies in the rows kept, in characters")
    for what, counts in summary["languages"].items():
        report.figure(_bars(_top(counts), "count"), f"Languages of {what}")
    report.text(", ".join(f"{name}: {seconds:.1f} s" for name, seconds in summary["seconds"].items()))
    return report


def funnel_counts(summary: Mapping[str, Any]) -> dict[str, int]:
    """The main steps, each a subset of what was before."""
    rows = summary["rows"]
    return {
        "conversations in": summary["conversations"]["in"],
        "conversations with a turn": summary["conversations"]["kept"],
        "turns": summary["turns"]["in"],
        "turns labelled": summary["turns"]["labelled"],
        "rows kept": rows["train"] + rows["test"],
    }


def outcomes(summary: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """(level, outcome, count) for every outcome that occurred."""
    rows = []
    for level in ("conversations", "turns", "rows"):
        for name, value in summary[level].items():
            parts = (
                {f"{name}: {key}": count for key, count in value.items()} if isinstance(value, dict) else {name: value}
            )
            rows += [(level, outcome, count) for outcome, count in parts.items()]
    return rows + [("messages", f"skipped: {reason}", count) for reason, count in summary["skipped_messages"].items()]


def _level_rows(levels: Mapping[str, Mapping[str, int]]) -> list[tuple[Any, ...]]:
    return [(level, name, *(levels[kind][str(level)] for kind in levels)) for level, name in LEVEL_NAMES.items()]


def _top(counts: Mapping[str, int]) -> dict[str, int]:
    items = list(counts.items())
    rest = sum(count for _, count in items[MAX_BARS:])
    return dict(items[:MAX_BARS]) | ({"all others": rest} if rest else {})


def _bars(counts: Mapping[str, int], unit: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 0.34 * max(1, len(counts))))
    axes = figure.subplots()
    bars = axes.barh(list(counts), list(counts.values()), color="#4878a8")
    axes.bar_label(bars, [f"{count:,}" for count in counts.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(unit)
    return figure


def _levels(levels: Mapping[str, Mapping[str, int]]) -> Any:
    names = [f"{level} {name}" for level, name in LEVEL_NAMES.items()]
    series = {kind: [counts[str(level)] for level in LEVEL_NAMES] for kind, counts in levels.items()}
    return _grouped(names, series, "turns")


def _lengths(lengths: Mapping[str, Mapping[str, int]]) -> Any:
    series = {kind: list(counts.values()) for kind, counts in lengths.items()}
    return _grouped([f"≤ {int(edge):,}" for edge in lengths["prompt"]], series, "rows")


def _grouped(names: Sequence[str], series: Mapping[str, Sequence[int]], unit: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2))
    axes = figure.subplots()
    width = 0.8 / len(series)
    for place, (kind, counts) in enumerate(series.items()):
        axes.bar([x + (place - (len(series) - 1) / 2) * width for x in range(len(names))], counts, width, label=kind)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_ylabel(unit)
    axes.legend()
    return figure
