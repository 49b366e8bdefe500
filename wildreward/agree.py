"""`wildreward agree A B`: how far two labellings of the same turns agree, turn by turn.

    wildreward agree runs/label-llm runs/label              # two judges
    wildreward agree runs/label people.csv --output runs/agree
    wildreward agree runs/label runs/demo/data/truth.parquet --rows

A and B are outputs of label, or files with conversation_hash, turn and a level. B is the reference: precision and
recall are A's. With --output: agreement.json (`Comparison.to_dict`), report.html.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wildreward import run_directory, storage
from wildreward.agreement import FEEDBACK_LEVELS, REFUSAL_VERDICTS, Agreement, agreement
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.bootstrap import Estimate
from wildreward.console import print_table
from wildreward.errors import DataError
from wildreward.evaluation import show
from wildreward.levels import NONE, Levels, read_levels
from wildreward.report import Report
from wildreward.scale import LEVEL_NAMES
from wildreward.settings.agree import AgreeSettings

OWNED = ("agreement.json", "report.html")
VERDICT_NAMES = {0: "false refusal", 1: "justified refusal", 2: "not a refusal"}


@dataclass(frozen=True)
class Comparison:
    """What was compared, how much of it could be matched, and how far it agrees."""

    a: str
    b: str
    counts: dict[str, int]
    levels: Agreement
    refusals: Agreement | None
    """Of the turns about which both were asked whether the reply is a refusal; None where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """The content of agreement.json: a, b, counts, levels and refusals, each estimate as value, low, high."""
        made = {"a": self.a, "b": self.b, "counts": self.counts, "levels": self.levels.to_dict()}
        return made | {"refusals": self.refusals.to_dict() if self.refusals else None}


def run(settings: AgreeSettings) -> None:
    """Compare, print, write what --output asks for. Raises UsageError for a wrong path, DataError for wrong data."""
    if settings.output:
        run_directory.open_run(settings, OWNED)
    a, b = settings.input
    left, right = (read_levels(path, settings.rows, settings.level_column) for path in (a, b))
    found = compare(a, b, left, right, settings)
    for line in lines(found):
        print(line)
    for caption, headers, rows in tables(found):
        print(f"\n{caption}")
        print_table(headers, [tuple(map(str, row)) for row in rows])
    if settings.output:
        _write(settings, found)


def compare(a: str, b: str, left: Levels, right: Levels, settings: AgreeSettings) -> Comparison:
    """Match by conversation and turn. Raises DataError when there is nothing to compare."""
    _, in_left, in_right = np.intersect1d(left.keys_N, right.keys_N, assume_unique=True, return_indices=True)
    if not len(in_left):
        raise DataError(
            f"nothing in common: {a} has {len(left.keys_N):,} turns and {b} has {len(right.keys_N):,}, and no "
            "conversation_hash and turn is in both"
        )
    found_N, reference_N = left.levels_N[in_left], right.levels_N[in_right]
    conversations_N = left.conversations_N[in_left]
    both_N = (found_N != NONE) & (reference_N != NONE)
    counts = {
        "matched": len(in_left),
        "compared": int(both_N.sum()),
        "only_in_a": len(left.keys_N) - len(in_left),
        "only_in_b": len(right.keys_N) - len(in_right),
        "without_level_in_a": int((found_N == NONE).sum()),
        "without_level_in_b": int((reference_N == NONE).sum()),
        "repeated_in_a": left.repeated,
        "repeated_in_b": right.repeated,
    }
    if not both_N.any():
        raise DataError(f"none of the {len(in_left):,} turns that are in both {a} and {b} has a level in both")
    options = MeasureOptions(settings.bootstrap, settings.confidence, settings.seed)
    levels = agreement(reference_N[both_N], found_N[both_N], conversations_N[both_N], FEEDBACK_LEVELS, options)
    verdicts = left.verdicts_N[in_left], right.verdicts_N[in_right]
    asked_N = (verdicts[0] != NONE) & (verdicts[1] != NONE)
    refusals = None
    if asked_N.any():
        told = (verdicts[1][asked_N], verdicts[0][asked_N], conversations_N[asked_N])
        refusals = agreement(*told, REFUSAL_VERDICTS, options)
    return Comparison(a, b, counts, levels, refusals)


def lines(found: Comparison) -> Iterator[str]:
    """What was compared, and what could not be."""
    counts = found.counts
    yield f"A {found.a}"
    yield f"B {found.b} (the reference)"
    yield (
        f"{counts['compared']:,} turns of {found.levels.conversations:,} conversations compared; "
        f"only in A {counts['only_in_a']:,}, only in B {counts['only_in_b']:,}; in both without a level in "
        f"A {counts['without_level_in_a']:,}, in B {counts['without_level_in_b']:,}"
    )
    for name in ("a", "b"):
        if counts[f"repeated_in_{name}"]:
            yield f"{counts[f'repeated_in_{name}']:,} turns are in {name.upper()} more than once: the first one counts"


def tables(found: Comparison) -> Iterator[tuple[str, list[str], list[tuple[Any, ...]]]]:
    """(caption, headers, rows) of everything that is shown."""
    for what, made, names in (
        ("levels", found.levels, LEVEL_NAMES),
        ("refusal verdicts", found.refusals, VERDICT_NAMES),
    ):
        if made is None:
            continue
        yield f"Agreement of the {what}, {made.turns:,} turns", ["measure", "A against B"], list(_measures(made))
        yield (
            f"Each of the {what}, A against B",
            ["", "in B", "in A", "precision", "recall"],
            [
                (f"{key} {name}", sum(made.confusion[place]), sum(row[place] for row in made.confusion),
                 show(made.precision[key]), show(made.recall[key]))
                for place, (key, name) in enumerate(names.items())
            ],
        )  # fmt: skip
        yield (
            f"Confusion of the {what}",
            ["", *(f"A: {key}" for key in names)],
            [(f"B: {key} {name}", *row) for (key, name), row in zip(names.items(), made.confusion, strict=True)],
        )


def _measures(made: Agreement) -> Iterator[tuple[str, str]]:
    values: dict[str, Estimate | None] = {
        "accuracy": made.accuracy,
        "Cohen's kappa": made.kappa,
        "quadratic weighted kappa": made.quadratic_kappa,
    }
    yield from ((name, show(value)) for name, value in values.items() if value is not None)


def _write(settings: AgreeSettings, found: Comparison) -> None:
    report = Report("Agreement of two labellings")
    for line in lines(found):
        report.text(line)
    report.text(
        f"Square brackets hold {settings.confidence:.0%} bootstrap intervals ({settings.bootstrap} resamples of "
        "conversations). Precision: of the turns A gives a label, the share that B gives it. Recall: of those B gives "
        "it, the share that A does."
    )
    for caption, headers, rows in tables(found):
        report.table(headers, rows, caption)
    storage.write_text(storage.join(settings.output, "report.html"), report.html())
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
    storage.write_text(storage.join(settings.output, "agreement.json"), text)
    run_directory.finish(settings.output, found.counts)
    print(f"\nreport: {storage.join(settings.output, 'report.html')}")
