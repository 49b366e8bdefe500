"""The part of a report that says how a reward model is calibrated: reliability and errors before and after, margins
against accuracy and coverage, and whether one score means the same across prompts.

    report = Report("...")
    add_calibration(report, found)          # found: wildreward/calibration_rows.py
    write_report(output, report)            # report.html and figures/NAME.png
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from wildreward import evaluation_report_drawing as draw
from wildreward import storage
from wildreward.benchmarks.measure import Metric
from wildreward.calibration import Calibration
from wildreward.calibration_rows import Calibrated
from wildreward.evaluation import show
from wildreward.evaluation_report_pictures import ABOVE, curve_picture
from wildreward.report import Picture, Report

FIGURES, REPORT = "figures", "report.html"


def write_report(output: str, report: Report) -> None:
    """The page, and every picture of it that has a name as a file."""
    page = report.html()
    for name, image in report.images.items():
        storage.write_bytes(storage.join(output, FIGURES, f"{name}.png"), image)
    storage.write_text(storage.join(output, REPORT), page)


def in_words(found: Calibration) -> str:
    """One line, for the console and the report.

    >>> in_words(Calibration("none", reason="12 conversations; at least 50 are needed"))
    'none: 12 conversations; at least 50 are needed'
    """
    if found.method == "none":
        return f"none: {found.reason}"
    nll = found.facts["nll"]
    what = "temperature and cutpoints" if found.reason is None else f"temperature alone ({found.reason})"
    return (
        f"{what}, T = {found.temperature:.3f}, on {found.facts['rows']:,} rows; negative log-likelihood "
        f"{nll['before']:.4f} before, {nll['after']:.4f} after (cross-fitted)"
    )


def add_calibration(report: Report, found: Calibrated) -> None:
    """Headings, sentences, tables and pictures."""
    report.heading("Calibration")
    _said(report, found)
    _parameters(report, found.calibration)
    report.table(_HEADERS, [_row(name, metric) for name, metric in _errors(found).items()], _ERRORS)
    report.pictures([_ece(found), *_reliability(found)])
    report.heading("Does the margin know?")
    report.text(
        "Pairs of these rows of different class, the prompts whatever they are: the reply of the higher class should "
        "have the higher score, and the more surely the larger the margin."
    )
    report.pictures(_named(found, "accuracy_by_margin", "accuracy_by_coverage"))
    report.heading("Does a score mean the same across prompts?")
    auc, pairwise = (found.metrics[name] for name in ("auc", "pairwise_accuracy"))
    half = (found.thresholds + 1) / 2
    report.text(
        f"One score over all rows, good classes (above {half:g}) against bad ones: AUC {show(auc.estimate)}; of two "
        f"rows of different class the higher scores higher in {show(pairwise.estimate)}. 0.5 is chance."
    )
    report.pictures([_scores(found)])


def _said(report: Report, found: Calibrated) -> None:
    calibration, rows = found.calibration, found.rows
    if calibration.method == "none":
        report.text(f"There is no calibration: {calibration.reason}. What is shown is the model as trained.")
    else:
        report.text(f"Fitted: {in_words(calibration)}.")
    report.text(
        f"{len(rows.labels_N):,} rows of {len(set(rows.conversations)):,} conversations: {rows.rows_are}. "
        + (
            f"Figures after calibration are cross-fitted: each row by parameters fitted on the other "
            f"{calibration.facts['folds'] - 1} of {calibration.facts['folds']} folds of conversations. "
            if calibration.method != "none"
            else ""
        )
        + f"Square brackets hold {found.options.confidence:.0%} bootstrap intervals over conversations; an ECE of few "
        "rows is too high, so read it beside the count."
    )


def _parameters(report: Report, found: Calibration) -> None:
    if found.cutpoints is not None:
        report.text(f"A calibrated logit is (what the model gives - cutpoint) / {found.temperature:.4g}.")
        rows = [(f"P(class > {k})", cutpoint) for k, cutpoint in enumerate(found.cutpoints, start=1)]
        report.table(("threshold", "cutpoint"), rows, "Cutpoints")


_HEADERS = ("", "rows", "before", "after", "after - before")
_ERRORS = "Errors of the probabilities; lower is better"


def _errors(found: Calibrated) -> dict[str, Metric]:
    names = {"negative log-likelihood": "nll", "ECE of the likeliest class": "ece"}
    names |= {f"ECE of P(class > {k})": f"ece_above_{k}" for k in range(1, found.thresholds + 1)}
    return {title: found.metrics[name] for title, name in names.items()}


def _row(title: str, metric: Metric) -> tuple[Any, ...]:
    before = metric.baselines.get("before")
    if before is None:
        return title, metric.count, show(metric.estimate), "", ""
    return title, metric.count, show(before.estimate), show(metric.estimate), show(before.difference)


def _ece(found: Calibrated) -> Picture:
    """Bars for each threshold, before and after, with their intervals."""
    metrics = [found.metrics[f"ece_above_{k}"] for k in range(1, found.thresholds + 1)]
    both = found.calibration.method != "none"
    series = {"before calibration": [m.baselines["before"].estimate if both else m.estimate for m in metrics]}
    series |= {"after": [metric.estimate for metric in metrics]} if both else {}
    figure, axes = draw.panel()
    width = 0.8 / len(series)
    for place, (name, estimates) in enumerate(series.items()):
        x = np.arange(len(estimates)) + (place - (len(series) - 1) / 2) * width
        axes.bar(x, [e.value or 0.0 for e in estimates], width * 0.92, color=draw.BESIDE[name], alpha=0.75, label=name)
        sure = [(at, e.low, e.high) for at, e in zip(x, estimates, strict=True) if e.low is not None]
        if sure:
            axes.vlines(*zip(*sure, strict=True), color="black", linewidth=1.3)
    axes.set_xticks(range(len(metrics)), [f"class > {k}\n{m.count:,} rows" for k, m in enumerate(metrics, start=1)])
    axes.set_ylabel("expected calibration error")
    if both:
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    words = "; ".join(
        f"{name}: " + ", ".join(f"class > {k} {show(e)}" for k, e in enumerate(estimates, start=1))
        for name, estimates in series.items()
    )
    return Picture(
        figure, "Calibration error of each threshold, with its interval.", f"Calibration error. {words}.", "ece"
    )


def _reliability(found: Calibrated) -> Iterator[Picture]:
    names = [name for name in found.curves if name.startswith(ABOVE)] or ["reliability_of_thresholds"]
    yield from _named(found, *names)


def _named(found: Calibrated, *names: str) -> Iterator[Picture]:
    for name in names:
        series = {who: points for who, points in found.curves.get(name, {}).items() if points}
        if series:
            yield replace(curve_picture(name, series), name=name)


def _scores(found: Calibrated) -> Picture:
    figure = draw.histogram(dict(found.histogram), "score", "share of the replies of the class")
    caption = "Scores by class. Outlines that lie on each other cannot be told apart by the score."
    counts = ", ".join(f"{name}: {sum(n)} rows" for name, n in found.histogram["series"].items())
    return Picture(
        figure, caption, f"Scores by class. {counts}. AUC {show(found.metrics['auc'].estimate)}.", "scores_by_class"
    )
