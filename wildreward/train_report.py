"""report.html of a training run: what came of it, how it went, the calibration, the settings, and what to type next.

The pictures lie in figures/ too. No text of the data is on the page.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wildreward import evaluation_report_drawing as draw
from wildreward.calibration import Calibration
from wildreward.calibration_report import add_calibration, in_words
from wildreward.calibration_rows import Calibrated
from wildreward.report import Picture, Report

CURVES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "loss": (
        "loss",
        "Loss of a row: of the training batches, and of the validation rows.",
        {"training": "train/loss", "validation": "validation/loss"},
    ),
    "ranking": (
        "",
        "Validation rows: how well the scores' order agrees with the classes. Higher is better.",
        {name: f"validation/{name}" for name in ("pairwise", "spearman", "qwk", "accuracy")},
    ),
    "error": (
        "mean absolute error in classes",
        "Validation rows: distance of the score from the class. Lower is better.",
        {"mae": "validation/mae"},
    ),
    "learning_rate": ("learning rate", "Learning rate.", {"learning rate": "train/lr"}),
    "gradient_norm": ("gradient norm", "Gradient norm before clipping.", {"gradient norm": "train/grad_norm"}),
    "speed": ("tokens per second", "Speed, padding not counted.", {"tokens per second": "train/tokens_per_s"}),
}
"""Pictures of the run: y label, caption, and series by kind and field of the lines of metrics.jsonl."""

MAX_POINTS = 500
"""A curve of more steps is drawn from every so many of them."""


def train_report(
    described: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    calibration: Calibration,
    measured: Calibrated | None,
) -> Report:
    """From what done.json says, the lines of metrics.jsonl, and the calibration with what was measured of it."""
    report = Report("Training of a reward model")
    report.table(("", ""), list(_facts(described, calibration)), "What came of it")
    report.heading("What to type next")
    for what, command in next_commands(described["checkpoint"], settings["input"]).items():
        report.text(what)
        report.code(command)
    report.heading("The run")
    report.pictures([_classes(described["training_labels"]), *_curves(history, described["best_step"])])
    if measured is None:
        report.heading("Calibration")
        report.text(f"There is no calibration: {calibration.reason}.")
    else:
        add_calibration(report, measured)
    report.heading("Settings")
    report.table(("setting", "value"), [(name, str(value)) for name, value in settings.items()], "All settings", True)
    return report


def _facts(described: Mapping[str, Any], calibration: Calibration) -> Iterator[tuple[str, Any]]:
    yield "checkpoint", described["checkpoint"]
    yield "steps", f"best {described['best_step']}, last {described['last_step']} of {described['total_steps']}"
    yield "chosen by", described["selected_by"]
    yield "training rows", f"{described['training_rows']:,}"
    yield "validation rows", f"{described['validation_rows']:,}"
    for name, value in described["validation"].items():
        yield f"validation {name}", "undefined" if value is None else f"{value:.4f}"
    yield "calibration", in_words(calibration)


def next_commands(checkpoint: str, inputs: Sequence[str]) -> dict[str, str]:
    """What for, and the command: measure, score, serve, calibrate on rows of one's own.

    >>> next_commands("runs/train/checkpoint", ["runs/label"])["Measure it on the test split:"]
    'wildreward evaluate --checkpoint runs/train/checkpoint --input runs/label --output runs/train/evaluate'
    """
    place, beside = shlex.quote(checkpoint), shlex.quote(checkpoint.rpartition("/")[0] or ".")
    start = f"--checkpoint {place}"
    return {
        "Measure it on the test split:": f"wildreward evaluate {start} --input {shlex.join(inputs)} "
        f"--output {beside}/evaluate",
        "Score replies of your own:": f"wildreward score {start} --input conversations.parquet --output {beside}/score",
        "Serve it over HTTP:": f"wildreward serve {start} --port 8000",
        "Calibrate it on rows of your own:": f"wildreward calibrate {start} --input rows.parquet "
        f"--output {beside}/calibrate",
    }


def _curves(history: Sequence[Mapping[str, Any]], best_step: int) -> Iterator[Picture]:
    for name, (ylabel, caption, sources) in CURVES.items():
        series = {title: list(_points(history, source)) for title, source in sources.items()}
        series = {title: points for title, points in series.items() if points}
        if not series:
            continue
        figure, axes = draw.panel()
        draw.lines(axes, series)
        if any(source.startswith("validation/") for source in sources.values()):
            axes.axvline(best_step, color="#6b7280", linewidth=1, linestyle="--", label="published")
        axes.set(xlabel="step", ylabel=ylabel)
        draw.legend_above(axes)
        yield Picture(figure, caption, f"{caption} {draw.ends_in_words(series)}.", name)


def _points(history: Sequence[Mapping[str, Any]], source: str) -> Iterator[tuple[int, float]]:
    """(step, value); of many lines every so many, and the last."""
    kind, _, field = source.partition("/")
    lines = [line for line in history if line["kind"] == kind and line.get(field) is not None]
    every = -(-len(lines) // MAX_POINTS)
    for place, line in enumerate(lines):
        if place % every == 0 or place == len(lines) - 1:
            yield line["step"], line[field]


def _classes(counts: Mapping[Any, int]) -> Picture:
    total = sum(counts.values())
    found = [draw.Bar(f"class {name}: {count:,}", count / total) for name, count in counts.items()]
    figure = draw.bars(found, "share of the training rows")
    words = ", ".join(f"class {name}: {count}" for name, count in counts.items())
    return Picture(
        figure, f"Classes of the {total:,} training rows.", f"Classes of the training rows. {words}.", "classes"
    )
