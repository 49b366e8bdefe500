"""An evaluation in its directory: results.json, report.html and the items of each set, written and read again.

items/SET.parquet holds one row an item: ids, groups, lengths, scores and whatever the kind of set adds, or in `skipped`
why it was not used; never a text. That is all a comparison needs.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.inputs import KINDS
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.comparison import Comparison, Evaluated, SetItems, comparison_json
from wildreward.errors import DataError, UsageError
from wildreward.evaluation import FORMAT, Evaluation, results_json
from wildreward.evaluation_report import report_html

RESULTS, REPORT, ITEMS = "results.json", "report.html", "items"


def write_evaluation(
    output: str,
    evaluation: Evaluation,
    model: Mapping[str, Any],
    options: MeasureOptions,
    comparison: Comparison | None = None,
) -> None:
    """items/, report.html and, last, results.json."""
    for name, (found, _) in evaluation.results.items():
        storage.write_bytes(storage.join(output, ITEMS, item_file(name)), items_parquet(found))
    storage.write_text(storage.join(output, REPORT), report_html(evaluation, model, options, comparison))
    results = results_json(evaluation, model, options)
    results["comparison"] = comparison_json(comparison, options) if comparison else None
    storage.write_text(storage.join(output, RESULTS), json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def item_file(name: str) -> str:
    """Names of sets are ends of paths; two of them never share a file.

    >>> item_file("x/oasst")
    'x%2Foasst.parquet'
    """
    return f"{name.replace('%', '%25').replace('/', '%2F')}.parquet"


def items_parquet(found: EvaluationSet) -> bytes:
    """All rows of a set, skipped ones included, under the union of their columns."""
    names = list(dict.fromkeys(name for item in found.items for name in item))
    columns = {name: pa.array([item.get(name) for item in found.items]) for name in names}
    texts = {name: column.cast(pa.string()) for name, column in columns.items() if pa.types.is_null(column.type)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns | texts), sink)
    return bytes(sink.getvalue())


def results_path(path: str) -> str:
    """results.json, given itself or its directory."""
    return path if path.endswith(".json") else storage.join(path, RESULTS)


def names_of(paths: Sequence[str]) -> list[str]:
    """What tells these evaluations apart: their paths without the directories they share.

    >>> names_of(["/runs/eval/results.json", "/runs/eval-2/"]), names_of(["a", "a"])
    (['eval', 'eval-2'], ['a#0', 'a#1'])
    """
    places = [path.removesuffix("/" + RESULTS).rstrip("/") for path in paths]
    shared = os.path.commonprefix(places).rfind("/") + 1  # noqa: RUF071 commonpath would break "s3://"
    names = [place[shared:] for place in places]
    return [name if names.count(name) == 1 else f"{name}#{index}" for index, name in enumerate(names)]


def is_evaluation(path: str) -> bool:
    """Whether there is an evaluation, and not, say, a checkpoint. Raises UsageError for a .json that is absent."""
    found = storage.exists(results_path(path))
    if path.endswith(".json") and not found:
        raise UsageError(f"{path}: no such file; expected results.json of an evaluation")
    return found


def read_evaluation(path: str, name: str | None = None) -> Evaluated:
    """The items of an evaluation. Raises UsageError or DataError naming the file and what is wrong with it."""
    where = results_path(path)
    if not storage.exists(where):
        raise UsageError(f"{path}: no evaluation there; expected the output of `wildreward evaluate`, or its {RESULTS}")
    try:
        results = json.loads(storage.read_text(where))
    except ValueError as error:
        raise DataError(f"{where}: not valid JSON: {error}") from error
    found = results.get("format") if isinstance(results, dict) else None
    if found != FORMAT:
        raise DataError(f"{where}: format: found {found!r}; expected {FORMAT!r}")
    folder = storage.join(where.rpartition("/")[0] or ".", ITEMS)
    sets = {name: _read_set(folder, name, facts, where) for name, facts in results["sets"].items()}
    return Evaluated(name or path, sets)


def _read_set(folder: str, name: str, facts: Mapping[str, Any], where: str) -> SetItems:
    kinds = {kind.kind: kind for kind in KINDS}
    if facts["kind"] not in kinds:
        raise DataError(f"{where}: {name}: kind {facts['kind']!r} is not known; known are {', '.join(kinds)}")
    path = storage.join(folder, item_file(name))
    with storage.open_file(path) as handle:
        try:
            items = pq.read_table(handle).to_pylist()
        except pa.ArrowException as error:
            raise DataError(f"{path}: not a readable parquet file: {error}") from error
    return SetItems(kinds[facts["kind"]], facts["files"], items)
