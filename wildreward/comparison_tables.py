"""A comparison as tables, for the console and for a report."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from wildreward.comparison import ComparedSet, Comparison, Difference
from wildreward.console import print_table
from wildreward.evaluation import show
from wildreward.evaluation_console import shown_metrics
from wildreward.report import Report


def headers(comparison: Comparison) -> tuple[str, ...]:
    """With more than one other model a column says which."""
    which = ("model",) if len(comparison.others) > 1 else ()
    return ("set", "metric", "n", "first", *which, "other", "difference", "p", "verdict")


def rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """One row a metric and model: the main metrics of each kind."""
    for name, found in comparison.sets.items():
        for row in _rows(comparison, found, shown_metrics(found.kind, found.metrics)):
            yield (name, *row)


def _rows(comparison: Comparison, found: ComparedSet, wanted: Iterable[str]) -> Iterator[tuple[str, ...]]:
    for metric in wanted:
        compared = found.metrics[metric]
        for other, said in compared.others.items():
            which = (other,) if len(comparison.others) > 1 else ()
            yield (metric, str(compared.count), show(compared.first), *which, *_cells(said))


def _cells(said: Difference) -> tuple[str, ...]:
    return (show(said.value), _signed(said), "" if said.p is None else f"{said.p:.3f}", said.verdict)


def _signed(said: Difference) -> str:
    found = said.difference
    if found.value is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:+.3f}"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def sentences(comparison: Comparison) -> Iterator[str]:
    """What is compared, and which items and sets could not be."""
    others = f"other{'s' if len(comparison.others) > 1 else ''}: {', '.join(comparison.others)}"
    yield f"first: {comparison.first}; {others}; a difference is other minus first, on the same items and resamples"
    for name, found in comparison.sets.items():
        left = ", ".join(f"{count} of {who}" for who, count in found.left_out.items() if count)
        yield f"{name}: {found.matched} items matched by id" + (f"; without a match: {left}" if left else "")
        yield from (f"{name}: not compared: {note}" for note in found.notes)
    for name, reason in comparison.not_compared.items():
        yield f"{name}: not compared: {reason}"


def print_comparison(comparison: Comparison, stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    print("", file=stream)
    print_table(headers(comparison), list(rows(comparison)), stream)
    print("", file=stream)
    for sentence in sentences(comparison):
        print(sentence, file=stream)


def add_comparison(report: Report, comparison: Comparison) -> None:
    """The same as a part of a report, with every metric of each set, those of subsets too, in a table to open."""
    for sentence in sentences(comparison):
        report.text(sentence)
    report.text("Intervals and p-values are of each metric by itself; of twenty metrics one differs by chance.")
    report.table(headers(comparison), ((name, _words(metric), *cells) for name, metric, *cells in rows(comparison)))
    for name, found in comparison.sets.items():
        everything = [(_words(metric), *cells) for metric, *cells in _rows(comparison, found, found.metrics)]
        report.table(headers(comparison)[1:], everything, f"{name}: all {len(found.metrics)} metrics", folded=True)


def _words(metric: str) -> str:
    """A metric's name with places to break the line; the subset before it as it is.

    >>> _words("my_set/length_balanced_accuracy")
    'my_set/length balanced accuracy'
    """
    subset, slash, name = metric.rpartition("/")
    return f"{subset}{slash}{name.replace('_', ' ')}"


def comparison_html(comparison: Comparison, names: Sequence[str]) -> str:
    """A page of its own."""
    report = Report(f"Comparison of {len(names)} evaluations")
    add_comparison(report, comparison)
    return report.html()
