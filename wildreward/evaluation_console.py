"""The evaluation as text: a table of the main metrics with their baselines, and a plain verdict for each set."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.measure import Metric
from wildreward.console import print_table
from wildreward.evaluation import Evaluation, show, verdicts

SHOWN = {
    "pairs": (
        "accuracy",
        "macro_accuracy",
        "min_subset_accuracy",
        "length_balanced_accuracy",
        "accuracy_when_shorter_is_better",
        "ece",
        "risk_coverage_area",
    ),
    "rated": ("preference_accuracy", "preference_accuracy_when_shorter_is_better", "spearman", "kendall"),
    "wildfb": (
        "pairwise_accuracy",
        "auc",
        "spearman",
        "mae",
        "quadratic_kappa",
        "accuracy",
        "ece",
        *(f"ece_above_{k}" for k in range(1, 10)),
    ),
}
"""What is printed of each kind; everything is in results.json and the report."""

BASELINES = ("length", "random", "constant")
BEFORE = "before"
"""The same model without its calibration: a column where a model was calibrated."""


def print_evaluation(evaluation: Evaluation, confidence: float, stream: TextIO | None = None) -> None:
    """The table; then the verdicts and what was skipped."""
    stream = stream or sys.stdout
    shown = (*BASELINES, *([BEFORE] if _has(evaluation, BEFORE) else []))
    headers = ("set", "metric", "n", f"model [{100 * confidence:.4g}%]", *shown)
    print_table(headers, list(table_rows(evaluation, shown)), stream)
    print(file=stream)
    for line in sentences(evaluation):
        print(line, file=stream)


def shown_metrics(kind: type[EvaluationSet], metrics: Iterable[str]) -> list[str]:
    """Which of these the console prints of a kind of set, in the kind's own order."""
    there = tuple(metrics)
    family = next((found for found in kind.families() if found in SHOWN), "")
    return [name for name in kind.shown or SHOWN.get(family, there) if name in there]


def _has(evaluation: Evaluation, baseline: str) -> bool:
    return any(
        baseline in metric.baselines for _, result in evaluation.results.values() for metric in result.metrics.values()
    )


def table_rows(evaluation: Evaluation, baselines: Sequence[str] = BASELINES) -> Iterator[tuple[str, ...]]:
    for name, (found, result) in evaluation.results.items():
        for metric in shown_metrics(type(found), result.metrics):
            yield (name, metric, *_cells(result.metrics[metric], baselines))


def _cells(metric: Metric, names: Sequence[str]) -> tuple[str, ...]:
    baselines = (metric.baselines.get(name) for name in names)
    values = [baseline.estimate.value if baseline else None for baseline in baselines]
    return (str(metric.count), show(metric.estimate), *("" if value is None else f"{value:.3f}" for value in values))


def sentences(evaluation: Evaluation) -> Iterator[str]:
    """What can be said of each set, and how many of its rows could not be used."""
    for name, (found, result) in evaluation.results.items():
        for sentence in verdicts(result):
            yield f"{name}: {sentence}"
        if found.skipped:
            reasons = ", ".join(f"{reason} {count}" for reason, count in found.skipped.items())
            yield f"{name}: skipped {sum(found.skipped.values())} of {len(found.items)} rows: {reasons}"
