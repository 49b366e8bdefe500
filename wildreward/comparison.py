"""Evaluations side by side on the same items: every metric of each model, and the paired differences to the first.

Items are matched by id within sets of the same name and kind. Only those that every model has a score for, with replies
of the same lengths, are measured; the others are counted. All models are then measured on the same resamples of the
same groups, so a difference has a paired interval (Efron and Tibshirani 1993, chapter 13), and

    p = 2 min(#{difference <= 0} + 1, #{difference >= 0} + 1) / (resamples + 1), at most 1

(two-sided; Davison and Hinkley 1997, 4.2, counts the data as one resample). Intervals and p-values are of each metric
by itself: of twenty metrics one differs "significantly" by chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wildreward.benchmarks.downstream import METRIC, why_not_compared
from wildreward.benchmarks.evaluation_set import EvaluationSet, Item, SetResult
from wildreward.benchmarks.measure import MeasureOptions, Metric
from wildreward.bootstrap import Estimate, Samples
from wildreward.errors import DataError
from wildreward.evaluation import Evaluation

FORMAT = "wildreward-comparison/1"

ROUNDING = 1e-6

SHARED_FIELDS = ("row", "group", "user")
"""What the bootstrap draws by: taken from the first evaluation for all."""

FACTS = (
    "label", "rating", "preferred", "subset", "winner", "num_correct", "quality", "truth", "conflicts",
)  # fmt: skip
"""Fields that say that two items of one id are the same, besides the lengths of their replies."""


@dataclass(frozen=True)
class SetItems:
    """The items of one set as one model scored them."""

    kind: type[EvaluationSet]
    files: Sequence[str]
    items: Sequence[Item]


@dataclass(frozen=True)
class Evaluated:
    """One model's evaluation, as far as a comparison needs it."""

    name: str
    sets: Mapping[str, SetItems]

    @classmethod
    def of(cls, name: str, evaluation: Evaluation) -> "Evaluated":
        found = {
            set_name: SetItems(type(measured), measured.files, measured.items)
            for set_name, (measured, _) in evaluation.results.items()
        }
        return cls(name, found)


@dataclass(frozen=True)
class Difference:
    """A model's metric beside the first model's, on the same items. `p` is None where there is too little data."""

    value: Estimate
    difference: Estimate
    p: float | None
    verdict: str
    """better, worse (or higher, lower, where neither is better), no difference, or too few items."""


@dataclass(frozen=True)
class ComparedMetric:
    first: Estimate
    count: int
    others: Mapping[str, Difference]


@dataclass(frozen=True)
class ComparedSet:
    """`metrics`: by name, those of subsets as SUBSET/NAME. `left_out`: items of each model that were not matched.
    `notes`: what could not be compared, and why."""

    kind: type[EvaluationSet]
    matched: int
    left_out: Mapping[str, int]
    headline: Sequence[str]
    metrics: Mapping[str, ComparedMetric]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """`first` is what the others are compared with; `not_compared`: sets that not every evaluation has, and why."""

    first: str
    others: Sequence[str]
    sets: Mapping[str, ComparedSet]
    not_compared: Mapping[str, str]


def compare(evaluated: Sequence[Evaluated], options: MeasureOptions) -> Comparison:
    """The first beside each of the others. Raises DataError when they have no set, or no item of a set, in common."""
    names = list(dict.fromkeys(name for one in evaluated for name in one.sets))
    not_compared = {name: reason for name in names if (reason := _why_not(name, evaluated))}
    sets = {name: _compare_set(name, evaluated, options) for name in names if name not in not_compared}
    empty = {name: found for name, found in sets.items() if not found.metrics}
    not_compared |= {name: "; ".join(found.notes) or "no metric of it is in all" for name, found in empty.items()}
    sets = {name: found for name, found in sets.items() if name not in empty}
    if not sets:
        what = "; ".join(f"{name}: {reason}" for name, reason in not_compared.items()) or "they are empty"
        raise DataError(f"nothing to compare: {what}")
    return Comparison(evaluated[0].name, [one.name for one in evaluated[1:]], sets, not_compared)


def _why_not(name: str, evaluated: Sequence[Evaluated]) -> str | None:
    lacking = [one.name for one in evaluated if name not in one.sets]
    if lacking:
        return f"not in {', '.join(lacking)}"
    kinds = {one.sets[name].kind.kind for one in evaluated}
    return f"of different kinds: {', '.join(sorted(kinds))}" if len(kinds) > 1 else None


def _compare_set(name: str, evaluated: Sequence[Evaluated], options: MeasureOptions) -> ComparedSet:
    by_id = [_scored_by_id(one.sets[name].items) for one in evaluated]
    first, others = by_id[0], by_id[1:]
    matched = [key for key in first if all(key in other and _same(first[key], other[key]) for other in others)]
    if not matched:
        names = ", ".join(one.name for one in evaluated)
        raise DataError(f"{name}: no item is in all of {names} with the same id and the same lengths")
    rows = [[items[key] | _shared(first[key]) for key in matched] for items in by_id]
    left_out = {one.name: len(items) - len(matched) for one, items in zip(evaluated, by_id, strict=True)}
    return _measured_alike(name, evaluated, rows, left_out, options)


def _measured_alike(
    name: str,
    evaluated: Sequence[Evaluated],
    rows: Sequence[list[Item]],
    left_out: Mapping[str, int],
    options: MeasureOptions,
) -> ComparedSet:
    """The metrics that every model has; what is not among them is said in `notes`."""
    notes, kind, names = [], evaluated[0].sets[name].kind, [one.name for one in evaluated]
    if reason := why_not_compared(dict(zip(names, rows, strict=True))):
        notes.append(reason)
        rows = [[item | {METRIC: None} for item in items] for items in rows]
    results = [
        _measured(kind, name, one.sets[name].files, items, options) for one, items in zip(evaluated, rows, strict=True)
    ]
    found = [_metrics_of(result) for result in results]
    lacking = {metric for metrics in found for metric in metrics} - set(found[0]).intersection(*found)
    if of_the_whole := sorted(metric for metric in lacking if any(metric in result.metrics for result in results)):
        notes.append(f"{', '.join(of_the_whole)}: not every model has it")
    compared = {
        metric: ComparedMetric(
            first.estimate,
            first.count,
            {
                other: difference_of(first, metrics[metric], options.confidence)
                for other, metrics in zip(names[1:], found[1:], strict=True)
            },
        )
        for metric, first in found[0].items()
        if metric not in lacking
    }
    headline = [metric for metric in results[0].headline if metric in compared]
    return ComparedSet(kind, len(rows[0]), left_out, headline, compared, notes)


def _scored_by_id(items: Sequence[Item]) -> dict[str, Item]:
    return {item["id"]: item for item in items if item["skipped"] is None}


def _same(one: Item, other: Item) -> bool:
    names = [name for name in one if name.startswith("chars") or name in FACTS]
    return all(one[name] == other.get(name) for name in names)


def _shared(item: Item) -> Item:
    return {name: item[name] for name in SHARED_FIELDS if name in item}


def _measured(
    kind: type[EvaluationSet], name: str, files: Sequence[str], items: list[Item], options: MeasureOptions
) -> SetResult:
    found = kind(name, files)
    found.items = items
    return found.measure(options)


def _metrics_of(result: SetResult) -> dict[str, Metric]:
    subsets = {f"{subset}/{name}": metric for subset, of in result.subsets.items() for name, metric in of.items()}
    return dict(result.metrics) | subsets


def difference_of(first: Metric, other: Metric, confidence: float) -> Difference:
    """What the resamples say of other minus first. Both must come from the same resamples."""
    known = first.estimate.value is not None and other.estimate.value is not None
    if not known or first.samples is None or other.samples is None:
        return Difference(other.estimate, Estimate(None), None, "too few items")
    samples = _without_rounding(other.samples.minus(first.samples))
    estimate = samples.estimate(confidence)
    if first.estimate.low is None or other.estimate.low is None or estimate.low is None:
        return Difference(other.estimate, Estimate(estimate.value), None, "too few items")
    return Difference(other.estimate, estimate, p_value(samples.replicates_R), _verdict(estimate, other))


def _without_rounding(samples: Samples) -> Samples:
    """The same scores from batches of another size differ by rounding: that is no difference, however consistent."""
    replicates_R = np.where(abs(samples.replicates_R) < ROUNDING, 0.0, samples.replicates_R)
    return Samples(0.0 if abs(samples.value) < ROUNDING else samples.value, replicates_R)


def p_value(differences_R: Any) -> float:
    """Two-sided bootstrap p-value that the difference is 0.

    >>> p_value(np.array([1.0] * 99)), p_value(np.array([1.0, -1.0] * 50)), p_value(np.zeros(99))
    (0.02, 1.0, 1.0)
    """
    known_R = differences_R[~np.isnan(differences_R)]
    tail = min((known_R <= 0).sum(), (known_R >= 0).sum()) + 1
    return float(min(1.0, 2 * tail / (len(known_R) + 1)))


def _verdict(difference: Estimate, metric: Metric) -> str:
    side = difference.side_of(0.0)
    if not side:
        return "no difference"
    has_direction = metric.chance is not None or bool(metric.baselines) or not metric.higher_is_better
    if not has_direction:
        return "higher" if side > 0 else "lower"
    return "better" if (side > 0) == metric.higher_is_better else "worse"


def comparison_json(comparison: Comparison, options: MeasureOptions) -> dict[str, Any]:
    """comparison.json, and `comparison` in results.json:

    format        "wildreward-comparison/1"
    options       replicates, confidence, seed, bins, group_by
    first, others names; differences are other minus first
    sets          {name: {kind, matched, left_out: {name: n}, headline: [metric], notes: [sentence], metrics:
                  {metric: {count, first: {value, low, high}, others: {name: {value, low, high, difference:
                  {value, low, high}, p, verdict}}}}}}
    not_compared  {set: reason}
    """
    return {
        "format": FORMAT,
        "options": dict(vars(options)),
        "first": comparison.first,
        "others": list(comparison.others),
        "sets": {name: _set_json(found) for name, found in comparison.sets.items()},
        "not_compared": dict(comparison.not_compared),
    }


def _set_json(found: ComparedSet) -> dict[str, Any]:
    return {
        "kind": found.kind.kind,
        "matched": found.matched,
        "left_out": dict(found.left_out),
        "headline": list(found.headline),
        "notes": list(found.notes),
        "metrics": {
            name: {
                "count": metric.count,
                "first": dict(vars(metric.first)),
                "others": {other: _difference_json(said) for other, said in metric.others.items()},
            }
            for name, metric in found.metrics.items()
        },
    }


def _difference_json(said: Difference) -> dict[str, Any]:
    return vars(said.value) | {"difference": dict(vars(said.difference)), "p": said.p, "verdict": said.verdict}
