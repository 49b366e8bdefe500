"""What a sweep found: a row a trial, the best one's settings as YAML, a table to read."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.settings.train import SELECT_MODES, TrainSettings
from wildreward.settings.tune import RULED_BY_SWEEP, TuneSettings

NOT_FOR_TRAIN = frozenset(RULED_BY_SWEEP) - {"input", "select_by", "keep_state"}


def rows_of(results: Any, settings: TuneSettings) -> list[dict[str, Any]]:
    """Trials, the best first, failed ones last: settings that varied, the metrics of the best evaluation, the error."""
    rows = [_row(result, settings) for result in results]
    sign = 1 if settings.mode == "min" else -1
    return sorted(rows, key=lambda row: (row["error"] is not None, sign * (row[settings.metric] or 0.0), row["trial"]))


def _row(result: Any, settings: TuneSettings) -> dict[str, Any]:
    best: dict[str, Any] = {}
    frame = result.metrics_dataframe
    if frame is not None and settings.metric in frame:
        column = frame[settings.metric]
        best = frame.loc[column.idxmin() if settings.mode == "min" else column.idxmax()].to_dict()
    config = result.config or {}
    return {
        "trial": str((result.metrics or {}).get("trial_id") or result.path.rsplit("/", 1)[-1]),
        **{name: config.get(name) for name in settings.space},
        "step": int(best["step"]) if best else None,
        **{name: float(best[name]) if best else None for name in SELECT_MODES},
        "error": str(result.error) if result.error else None if best else "no evaluation",
    }


def write_results(path: str, rows: list[dict[str, Any]]) -> None:
    """Parquet; a setting whose values differ in type is written as JSON text."""
    columns = {name: _column([row[name] for row in rows]) for name in rows[0]}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    storage.write_bytes(path, buffer.getvalue())


def _column(values: list[Any]) -> list[Any]:
    plain = len({type(value) for value in values if value is not None}) <= 1
    return values if plain else [json.dumps(value) for value in values]


def best_settings(rows: list[dict[str, Any]], settings: TuneSettings, base: dict[str, Any]) -> dict[str, Any]:
    """Settings of the best trial as `train --config` takes them; where they are written is up to that run."""
    chosen = {name: rows[0][name] for name in settings.space}
    values = TrainSettings.parse({**base, **chosen}).model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in NOT_FOR_TRAIN}


def show(facts: dict[str, Any], metric: str) -> None:
    """The table on the terminal, and what to do next."""
    rows = facts["trials"]
    names = [name for name in rows[0] if name != "error"]
    cells = [names, *[[_shown(row[name]) for name in names] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    failed = [row for row in rows if row["error"] is not None]
    for row in failed:
        print(f"trial {row['trial']} failed: {row['error'].strip().splitlines()[-1]}")
    print(f"best trial by {metric}: {facts['best']}")
    print(f"next: wildreward train --config {facts['output']}/best.yaml --output DIR")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
