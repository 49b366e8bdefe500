"""What a sweep found: a row a trial, the best one's settings as YAML, a table to read."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tune.records import TrialRecord, is_known
from wildreward import storage
from wildreward.console import print_table
from wildreward.settings.train import SELECT_MODES, TrainSettings
from wildreward.settings.tune import RULED_BY_SWEEP, TuneSettings

NOT_FOR_TRAIN = frozenset(RULED_BY_SWEEP) - {"input", "select_by", "keep_state"}

Row = dict[str, Any]


def rows_of(trials: Sequence[TrialRecord], settings: TuneSettings) -> list[Row]:
    """Trials, the best first, those without a value last: what varied, metrics of the best evaluation, how it ended."""
    rows = [_row(record, settings) for record in trials]
    sign = 1 if settings.mode == "min" else -1
    return sorted(
        rows,
        key=lambda row: (
            row["state"] == "failed" or row[settings.metric] is None,
            sign * (row[settings.metric] or 0.0),
        ),
    )


def _row(record: TrialRecord, settings: TuneSettings) -> Row:
    best = record.best(settings.metric, settings.mode) or {}
    metrics = {name: float(best[name]) if is_known(best.get(name)) else None for name in SELECT_MODES}
    error = record.error or (None if best else f"no evaluation with a value of {settings.metric}")
    return {
        "trial": record.name,
        **{name: record.settings.get(name) for name in settings.space},
        "step": best.get("step"),
        "steps_done": record.step,
        **metrics,
        "state": record.state if best or record.state == "failed" else "failed",
        "error": error,
    }


def write_results(path: str, rows: Sequence[Row]) -> None:
    """Parquet; a setting whose values differ in type is written as JSON text."""
    columns = {name: _column([row[name] for row in rows]) for name in rows[0]}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    storage.write_bytes(path, buffer.getvalue())


def _column(values: list[Any]) -> list[Any]:
    plain = len({type(value) for value in values if value is not None}) <= 1
    return values if plain else [None if value is None else json.dumps(value) for value in values]


def best_settings(varied: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a trial as `train --config` takes them; where they are written is up to that run."""
    values = TrainSettings.parse({**base, **varied}).model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in NOT_FOR_TRAIN}


def show(facts: Mapping[str, Any], metric: str) -> None:
    """The table on the terminal, and what to do next."""
    rows: Sequence[Row] = facts["trials"]
    names = [name for name in rows[0] if name != "error"]
    print_table(names, [[_shown(row[name]) for name in names] for row in rows])
    for row in rows:
        if row["error"] is not None:
            print(f"trial {row['trial']} failed: {row['error']}")
    if facts["best"] is not None:
        print(f"best trial by {metric}: {facts['best']}   report: {facts['output']}/report.html")
        print(f"next: wildreward train --config {facts['output']}/best.yaml --output DIR")


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
