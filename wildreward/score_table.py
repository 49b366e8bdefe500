"""Scores as Arrow columns: what a row of scores/ and of the score cache holds, and how it becomes a Score again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wildreward.scorer import Unscored

if TYPE_CHECKING:
    from wildreward.reward_model import Score

SCORED = [
    ("score", pa.float64()),  # null where `error` is set; of an ordinal model between 1 and the number of classes
    ("probs", pa.list_(pa.float64())),  # null where the scorer knows no classes
    ("uncertainty", pa.float64()),
    ("logit", pa.float64()),
    ("tokens", pa.int32()),
    ("prompt_tokens_cut", pa.int32()),
    ("response_tokens_cut", pa.int32()),
    ("raw_probs", pa.list_(pa.float64())),  # before calibration; null where there was none
    ("error", pa.string()),
    ("error_detail", pa.string()),
]


def scored_columns(scores: "Sequence[Score | Unscored]") -> pa.Table:
    """One row a score, or an `error` and nothing else, in the columns SCORED."""
    rows = [
        {"error": score.reason, "error_detail": score.detail} if isinstance(score, Unscored) else dict(vars(score))
        for score in scores
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(SCORED))


def score_of(row: dict[str, Any]) -> "Score | Unscored":
    """The row of SCORED columns as it was; others are not looked at.

    >>> score_of(scored_columns([Unscored("nan_score", "score is nan")]).to_pylist()[0])
    Unscored(reason='nan_score', detail='score is nan')
    """
    from wildreward.reward_model import Score

    if row["error"] is not None:
        return Unscored(row["error"], row["error_detail"] or "")
    values = {name: row[name] for name, _ in SCORED if not name.startswith("error")}
    lists = {name: None if row[name] is None else tuple(row[name]) for name in ("probs", "raw_probs")}
    return Score(**values | lists)
