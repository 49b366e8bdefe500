"""Evaluation sets from plain rows, and scores given by hand."""

from collections.abc import Sequence
from typing import Any

from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.records import Record
from wildreward.reward_model import Score
from wildreward.scorer import Unscored

QUICK = MeasureOptions(replicates=200)


def made(kind: type[EvaluationSet], rows: Sequence[dict[str, Any] | None]) -> EvaluationSet:
    found = kind("set", ["file.jsonl"])
    found.add(Record(row, values) for row, values in enumerate(rows))
    return found


def score(value: float, probs: Sequence[float] = (0.25, 0.25, 0.25, 0.25)) -> Score:
    return Score(value, tuple(probs), 1.0, None, 5, 0, 0)


def scalar(value: float) -> Score:
    """What a scalar reward model gives: no class probabilities, and a score without bounds."""
    return Score(value, (), 0.0, None, 5, 0, 0)


def take(found: EvaluationSet, values: Sequence[float | Unscored]) -> EvaluationSet:
    found.take_scores([value if isinstance(value, Unscored) else score(value) for value in values])
    return found
