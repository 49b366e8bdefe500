"""The evaluation as text: a table of the main metrics with their baselines, and a plain verdict for each set."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.measure import Metric
from wildreward.evaluation import Evaluation, show, verdicts

SHOWN = {
    "pairs": ("accuracy", "macro_accuracy", "accuracy_when_shorter_is_better", "ece"),
    "rated": ("preference_accuracy", "preference_accuracy_when_shorter_is_better", "spearman", "kendall"),
    "wildfb": ("pairwise_accuracy", "auc", "spearman", "mae", "quadratic_kappa", "accuracy", "ece"),
}
"""What is printed of each kind; everything is in results.json and the report."""

HEADERS = ("set", "metric", "n", "model [95%]", "length", "random", "constant")


def print_evaluation(evaluation: Evaluation, stream: TextIO | None = None) -> None:
    """A table drawn with lines on a terminal, aligned columns otherwise; then the verdicts and what was skipped."""
    stream = stream or sys.stdout
    print_table(HEADERS, list(table_rows(evaluation)), stream)
    print(file=stream)
    for line in sentences(evaluation):
        print(line, file=stream)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """With lines on a terminal, as aligned columns otherwise."""
    if stream.isatty():
        _print_rich(headers, rows, stream)
        return
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for row in [headers, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=stream)


def shown_metrics(kind: type[EvaluationSet], metrics: Iterable[str]) -> list[str]:
    """Which of these the console prints of a kind of set, in the kind's own order."""
    there = list(metrics)
    return [name for name in SHOWN.get(kind.kind, there) if name in there]


def table_rows(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    for name, (found, result) in evaluation.results.items():
        for metric in shown_metrics(type(found), result.metrics):
            yield (name, metric, *_cells(result.metrics[metric]))


def _cells(metric: Metric) -> tuple[str, ...]:
    baselines = (metric.baselines.get(name) for name in ("length", "random", "constant"))
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


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*headers)
    for row in rows:
        table.add_row(*row)
    Console(file=stream, markup=False).print(table)
