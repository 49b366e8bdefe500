"""report.html of an evaluation: verdicts, every metric beside its baselines, and the pictures of each kind of set."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit

from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.benchmarks.measure import MeasureOptions, Metrics
from wildreward.comparison import Comparison
from wildreward.comparison_tables import add_comparison
from wildreward.evaluation import Evaluation, show, verdicts
from wildreward.metrics import Array, bin_of
from wildreward.reference_results import add_references
from wildreward.report import Report

_HEADERS = ("metric", "n", "model", "length", "model - length", "random", "constant", "chance", "against chance")


def report_html(
    evaluation: Evaluation,
    model: Mapping[str, Any],
    options: MeasureOptions,
    comparison: Comparison | None = None,
) -> str:
    """One self-contained page; no text of the data is on it."""
    report = Report("Evaluation of a reward model")
    report.table(("", ""), [(name, str(value)) for name, value in model.items()], "Model")
    report.text(
        f"Square brackets hold {options.confidence:.0%} bootstrap intervals ({options.replicates} resamples, drawn by "
        f"{options.group_by}). Baselines: length calls the longer reply better; random draws; constant is the best "
        "single answer. A difference is taken on the same resamples."
    )
    add_references(report, evaluation)
    if comparison:
        add_comparison(report, comparison)
    for name, (found, result) in evaluation.results.items():
        report.heading(f"{name} ({found.kind})")
        for sentence in verdicts(result):
            report.text(sentence)
        skipped = ", ".join(f"{reason} {count}" for reason, count in found.skipped.items()) or "none"
        report.text(f"{len(found.items)} rows, {len(found.scored)} evaluated; skipped: {skipped}.")
        report.table(_HEADERS, _rows(result.metrics), "Metrics")
        for figure, caption in _FIGURES.get(found.kind, _no_figures)(found, result, options.bins):
            report.figure(figure, caption)
        if result.subsets:
            rows = [(subset, *row[1:]) for subset, metrics in result.subsets.items() for row in _rows(metrics)]
            report.table(("subset", *_HEADERS[1:]), rows, "Accuracy by subset")
    return report.html()


def _rows(metrics: Metrics) -> Iterator[tuple[Any, ...]]:
    for name, metric in metrics.items():
        shown = {who: show(baseline.estimate) for who, baseline in metric.baselines.items()}
        length = metric.baselines.get("length")
        yield (
            name,
            metric.count,
            show(metric.estimate),
            shown.get("length", ""),
            show(length.difference) if length else "",
            shown.get("random", ""),
            shown.get("constant", ""),
            "" if metric.chance is None else f"{metric.chance:g}",
            metric.against_chance or "",
        )


Figures = Iterator[tuple[Figure, str]]


def _no_figures(found: EvaluationSet, result: SetResult, bins: int) -> Figures:
    yield from ()


def _pair_figures(found: EvaluationSet, result: SetResult, bins: int) -> Figures:
    margin_N = found.column("margin")
    figure, axes = _axes(columns=2)
    axes[0].hist(margin_N, bins=40)
    axes[0].axvline(0, color="black", linewidth=1)
    axes[0].set(xlabel="score of chosen - score of rejected", ylabel="pairs", title="Margins")
    _reliability(axes[1], expit(np.abs(margin_N)), margin_N > 0, bins)
    axes[1].set(xlabel="sigmoid(|margin|)", ylabel="share right", xlim=(0.48, 1))
    yield figure, f"{found.name}: margins, and how often a preference of given probability is right"


def _rated_figures(found: EvaluationSet, result: SetResult, bins: int) -> Figures:
    figure, axes = _axes(columns=1)
    _by_level(axes[0], found.column("score"), found.column("rating"), "rating")
    yield figure, f"{found.name}: scores of the replies by the users' rating"


def _wildfb_figures(found: EvaluationSet, result: SetResult, bins: int) -> Figures:
    labels_N, probs_NC = found.column("label"), found.column("probs")
    figure, axes = _axes(columns=2)
    _by_level(axes[0], found.column("score"), labels_N, "class")
    _confusion(axes[1], np.array(result.extra["confusion"]))
    yield figure, f"{found.name}: scores by class, and predicted against true class"
    figure, axes = _axes(columns=2)
    _reliability(axes[0], probs_NC.max(1), probs_NC.argmax(1) + 1 == labels_N, bins)
    axes[0].set(xlabel="probability of the likeliest class", ylabel="share right", title="Reliability of the class")
    above_NK = probs_NC[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
    for k in range(above_NK.shape[1]):
        _reliability(axes[1], above_NK[:, k], labels_N > k + 1, bins, label=f"class > {k + 1}")
    axes[1].set(xlabel="P(class > k)", ylabel="share above", title="Reliability of the thresholds")
    axes[1].legend()
    yield figure, f"{found.name}: reliability; a calibrated model lies on the diagonal, larger dots hold more rows"


_FIGURES: Mapping[str, Callable[[EvaluationSet, SetResult, int], Figures]] = {
    "pairs": _pair_figures,
    "rated": _rated_figures,
    "wildfb": _wildfb_figures,
}


def _axes(columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.2 * columns, 4), layout="constrained")
    made = figure.subplots(1, columns, squeeze=False)
    return figure, list(made[0])


def _by_level(axes: Axes, values_N: Array, levels_N: Array, name: str) -> None:
    """Histogram of scores, one outline for each level (or a scatter when ratings are continuous)."""
    levels = np.unique(levels_N)
    if len(levels) > 10:
        axes.scatter(levels_N, values_N, s=6, alpha=0.4)
        axes.set(xlabel=name, ylabel="score")
        return
    edges = np.histogram_bin_edges(values_N, bins=30)
    for level in levels:
        members_N = values_N[levels_N == level]
        label = f"{name} {level:g} ({len(members_N)})"
        axes.hist(members_N, bins=edges.tolist(), density=True, histtype="step", linewidth=1.5, label=label)
    axes.set(xlabel="score", ylabel="density", title=f"Scores by {name}")
    axes.legend()


def _confusion(axes: Axes, counts_CC: Array) -> None:
    """Shaded by the share of the true class; the numbers are counts."""
    shares_CC = counts_CC / np.maximum(counts_CC.sum(1, keepdims=True), 1)
    axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts_CC):
        color = "white" if shares_CC[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color)
    ticks = range(len(counts_CC))
    axes.set_xticks(ticks, [str(k + 1) for k in ticks])
    axes.set_yticks(ticks, [str(k + 1) for k in ticks])
    axes.set(xlabel="predicted class", ylabel="class", title="Confusion")


def _reliability(axes: Axes, confidence_N: Array, hits_N: Array, bins: int, label: str = "") -> None:
    bins_N = bin_of(confidence_N, bins)
    counts_B = np.bincount(bins_N, minlength=bins)
    filled_B = counts_B > 0
    x_B = np.bincount(bins_N, confidence_N, bins)[filled_B] / counts_B[filled_B]
    y_B = np.bincount(bins_N, hits_N.astype(float), bins)[filled_B] / counts_B[filled_B]
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    line = axes.plot(x_B, y_B, linewidth=1, label=label or None)
    axes.scatter(x_B, y_B, s=10 + 150 * counts_B[filled_B] / counts_B.sum(), color=line[0].get_color())
    axes.set(xlim=(0, 1), ylim=(0, 1), title="Reliability")
