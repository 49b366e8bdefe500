"""A label run on generated conversations against the truth that was kept apart.

measure("runs/demo/label", "runs/demo/data/truth.parquet")
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wildreward.agreement import Agreement, agreement

Key = tuple[str, int]


@dataclass(frozen=True)
class AgainstTruth:
    judged: Agreement
    """What the judge said, over all turns with a known level."""
    rows: Agreement
    """The levels of the training rows, after hindsight, refusal validation and the filters."""
    refusals: tuple[int, int, int]
    """Right verdicts; refusals for which one was asked, as the judge had read the turn as negative; refusals made."""
    filters: Mapping[str, tuple[int, int]]
    """Filter -> turns made for it of which no row is left; how many there are."""
    hindsight: Mapping[str, tuple[int, int]]
    """hindsight: made to be mined, and were. hindsight_off_topic, ..nearer_negative: made not to be, and were not."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(label_output: str, truth_path: str) -> AgainstTruth:
    """Agreement of a label run's feedback/ and wildfb/ with a truth.parquet, turn by turn."""
    truth = {(row["conversation_hash"], row["turn"]): row for row in _read(truth_path)}
    judged: dict[Key, Any] = {}
    for conversation in _read(f"{label_output}/feedback", ["conversation_hash", "turns"]):
        for turn in conversation["turns"] or ():
            judged[conversation["conversation_hash"], turn["turn"]] = turn
    rows: dict[Key, Any] = {}
    for side in ("train", "test"):
        for row in _read(f"{label_output}/wildfb/{side}", ["conversation_hash", "turn", "level", "source"]):
            rows[row["conversation_hash"], row["turn"]] = row
    both = [key for key in truth if key in judged and judged[key]["level"] is not None]
    kept = [key for key in truth if key in rows]
    return AgainstTruth(
        judged=_levels(both, truth, "true_level", judged),
        rows=_levels(kept, truth, "true_level_refined", rows),
        refusals=_refusals(truth, judged),
        filters=_filters(truth, rows),
        hindsight=_hindsight(truth, rows),
    )


def _levels(keys: Sequence[Key], truth: Mapping[Key, Any], column: str, found: Mapping[Key, Any]) -> Agreement:
    names = [name for name, _ in keys]
    return agreement([truth[key][column] for key in keys], [found[key]["level"] for key in keys], names)


def _refusals(truth: Mapping[Key, Any], judged: Mapping[Key, Any]) -> tuple[int, int, int]:
    made = [key for key, row in truth.items() if row["refusal"] is not None and key in judged]
    asked = [key for key in made if judged[key]["refusal_verdict"] is not None]
    right = sum(judged[key]["refusal_verdict"] == truth[key]["refusal"] for key in asked)
    return right, len(asked), len(made)


def _filters(truth: Mapping[Key, Any], rows: Mapping[Key, Any]) -> dict[str, tuple[int, int]]:
    made: dict[str, list[bool]] = {}
    for key, row in truth.items():
        if row["drop"] is not None:
            made.setdefault(row["drop"], []).append(key not in rows)
    return {name: (sum(dropped), len(dropped)) for name, dropped in sorted(made.items())}


def _hindsight(truth: Mapping[Key, Any], rows: Mapping[Key, Any]) -> dict[str, tuple[int, int]]:
    counts: dict[str, list[bool]] = {}
    for key, row in truth.items():
        if row["case"].startswith("hindsight") and row["turn"] == 0:
            mined = key in rows and rows[key]["source"] == "hindsight"
            counts.setdefault(row["case"], []).append(mined == (row["case"] == "hindsight"))
    return {name: (sum(right), len(right)) for name, right in sorted(counts.items())}


def _read(path: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    return rows
