"""The report of a sweep: what was best, all trials, pictures of them, and what few trials allow to be said."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wildreward.report import Picture, Report
from wildreward.search_space import Knob, constraint
from wildreward.sweep_importance import MIN_TRIALS, Importances, importances
from wildreward.sweep_pictures import importance_bars, parallel_coordinates

MAX_DRAWN = 400
"""Trials in the picture of parallel coordinates: the best, if there are more."""


@dataclass(frozen=True)
class SweepFacts:
    """What is reported: rows as in results.parquet, the best first; `best`: what varies, as the best trial has it."""

    metric: str
    mode: str
    knobs: Sequence[Knob]
    rows: Sequence[Mapping[str, Any]]
    best: Mapping[str, Any]
    output: str


@dataclass(frozen=True)
class SweepReport:
    """The page, and its pictures as PNG by file name."""

    html: str
    pictures: Mapping[str, bytes]


def build(facts: SweepFacts) -> SweepReport:
    """The report of a sweep of which at least one trial came through."""
    page = Report("Sweep of reward-model settings")
    known = [row for row in facts.rows if row[facts.metric] is not None]
    _summary(page, facts, known)
    drawn = known[:MAX_DRAWN]
    trials = Picture(
        parallel_coordinates(facts.knobs, drawn, facts.metric, facts.mode == "max"),
        f"Parallel coordinates: a line is a trial, its colour is {facts.metric}; the thick line is the best.",
        f"Parallel coordinates of {len(drawn)} trials over {', '.join(knob.name for knob in facts.knobs)}",
    )
    page.heading("Trials and settings")
    page.figure(trials.figure, trials.caption)
    pictures = {"parallel_coordinates.png": png(trials.figure)}
    found = importances(facts.knobs, known, facts.metric)
    _importance(page, facts, found)
    if found is not None:
        bars = importance_bars(found)
        page.figure(bars, "Importance of each setting, with the middle 90 percent over resamples of the trials.")
        pictures["importance.png"] = png(bars)
    _table(page, facts)
    return SweepReport(page.html(), pictures)


def _summary(page: Report, facts: SweepFacts, known: Sequence[Mapping[str, Any]]) -> None:
    counts = {state: sum(row["state"] == state for row in facts.rows) for state in ("finished", "stopped", "failed")}
    best = known[0]
    chosen = ", ".join(f"{name} {_shown(value)}" for name, value in facts.best.items())
    page.text(
        f"{len(facts.rows)} trials: {counts['finished']} finished, {counts['stopped']} stopped early by ASHA, "
        f"{counts['failed']} failed. Ranked by {facts.metric} of the validation rows, each by its best evaluation."
    )
    page.text(f"Best: {best['trial']} with {facts.metric} {best[facts.metric]:.4f}: {chosen}.")
    if len(known) > 1:
        page.text(
            f"The second is {known[1]['trial']} with {known[1][facts.metric]:.4f}. The best of {len(known)} trials on "
            "the same validation rows is flattered by having been chosen: evaluate it on rows it was not chosen by."
        )
    page.text(f"Next: wildreward train --config {facts.output}/best.yaml --output DIR")


def _importance(page: Report, facts: SweepFacts, found: Importances | None) -> None:
    page.heading("Importance")
    if found is None:
        page.text(
            f"Not computed: it needs {MIN_TRIALS} trials or more with a value of {facts.metric}, values that differ, "
            "and a setting that differs among them."
        )
        return
    page.text(found.text)
    rows = [[one.name, f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"] for one in found.settings]
    page.table(["setting", "importance [90%]"], rows)


def _table(page: Report, facts: SweepFacts) -> None:
    page.heading("All trials")
    page.table(["setting", "searched"], [[knob.name, constraint(knob)] for knob in facts.knobs], "Search space")
    names = [name for name in facts.rows[0] if name != "error"]
    page.table(
        [name.replace("_", " ") for name in names],
        [["-" if row[name] is None else row[name] for name in names] for row in facts.rows],
        "The best first; metrics are those of the trial's best evaluation",
    )
    failed = [[row["trial"], row["error"]] for row in facts.rows if row["error"] is not None]
    if failed:
        page.table(["trial", "error"], failed, "Trials that failed")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
