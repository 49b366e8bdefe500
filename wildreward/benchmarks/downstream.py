"""What the chosen replies are worth downstream: a user's function judges the reply that the reward model picks.

    # judge.py
    def exact(chosen: list[dict]) -> list[float]:      # or one number for all of them
        return [float(one["response"].strip() == ANSWERS[one["id"]]) for one in chosen]

    wildreward evaluate --input candidates.jsonl --downstream judge:exact ...

Each of `chosen` has `set`, `id`, `prompt` (messages) and `response`: of every prompt the highest-scored reply, the
first of equals. The function is called for the model's choice and for those of the baselines length and random, three
times a set.

Numbers of each reply are kept in the items, so that evaluations judged by the same function can be compared; of one
number for all replies nothing is kept.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildreward.benchmarks.evaluation_set import as_number
from wildreward.benchmarks.measure import BaselineResult, Measure, MeasureOptions, Metric, Metrics, measure_all
from wildreward.bootstrap import Estimate
from wildreward.errors import DataError
from wildreward.metrics import Array, mean
from wildreward.named_function import call_named, named_function

if TYPE_CHECKING:
    from wildreward.benchmarks.reply_lists import ReplyLists

METRIC = "downstream"
JUDGED_BY = "downstream_by"


@dataclass(frozen=True)
class Downstream:
    """A function of chosen replies, and what it was called on the command line."""

    name: str
    call: Callable[[list[dict[str, Any]]], Any]


def load_downstream(name: str) -> Downstream:
    """The function named `module:function`, found from the working directory too. Raises UsageError."""
    return Downstream(name, named_function("--downstream", name, os.getcwd()))


def downstream_metrics(
    found: "ReplyLists", orders: Mapping[str, Sequence[Array]], options: MeasureOptions
) -> tuple[Metrics, dict[str, Any]]:
    """The metric `downstream` and what made it: of the items of an earlier evaluation from what it kept, and nothing
    where no function was given. Raises DataError."""
    downstream = found.downstream
    if downstream is None:
        return _measured(found, options), {}
    values = {who: _values(downstream, found, [int(row.argmax()) for row in rows]) for who, rows in orders.items()}
    each = {who: row for who, row in values.items() if isinstance(row, list)}
    for item in found.scored:
        item[JUDGED_BY] = downstream.name
    extra = {"downstream": {"function": downstream.name, "one_number_each": len(each) == len(values)}}
    if len(each) == len(values):
        for who, row in each.items():
            for item, value in zip(found.scored, row, strict=True):
                item[_field(who)] = value
        return _measured(found, options), extra
    numbers = {who: float(np.mean(row)) for who, row in values.items()}
    model = numbers.pop("model")
    baselines = {who: BaselineResult(Estimate(number), Estimate(model - number)) for who, number in numbers.items()}
    return {METRIC: Metric(Estimate(model), len(found.scored), None, True, baselines)}, extra


def _field(who: str) -> str:
    return METRIC if who == "model" else f"{METRIC}_{who}"


def _measured(found: "ReplyLists", options: MeasureOptions) -> Metrics:
    """From the numbers in the items; nothing where not all have one."""
    if any(item.get(METRIC) is None for item in found.scored):
        return {}
    means = {who: mean(found.column(_field(who))) for who in ("model", "length", "random")}
    return measure_all({METRIC: Measure(means.pop("model"), means)}, found.groups(options), options)


def why_not_compared(items: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """Why the downstream numbers in the items of these models say nothing of their difference; None where they do, and
    where there are none.

    >>> why_not_compared({"one": [{"downstream_by": "m:f", "downstream": 1.0}], "two": [{"downstream_by": None}]})
    'downstream: m:f in one, no function in two'
    """
    by = {who: next((item.get(JUDGED_BY) for item in rows), None) for who, rows in items.items()}
    if len(set(by.values())) > 1:
        return f"{METRIC}: " + ", ".join(f"{name or 'no function'} in {who}" for who, name in by.items())
    name = next(iter(by.values()))
    if name is None or all(item.get(METRIC) is not None for rows in items.values() for item in rows):
        return None
    return f"{METRIC}: {name} gives one number for all replies, which has nothing to be paired by"


def _values(downstream: Downstream, found: "ReplyLists", picks: Sequence[int]) -> list[float] | float:
    chosen = []
    for item, pick in zip(found.scored, picks, strict=True):
        *prompt, reply = found.texts_of(item)[pick]
        chosen.append({"set": found.name, "id": item["id"], "prompt": prompt, "response": reply["content"]})
    given = call_named("--downstream", downstream.name, downstream.call, chosen)
    plain = given.tolist() if isinstance(given, np.ndarray | np.generic) else given
    one = _number(plain)
    if one is not None:
        return one
    numbers = [_number(value) for value in plain] if isinstance(plain, list | tuple) else []
    sound = [number for number in numbers if number is not None]
    if len(sound) != len(chosen):
        said = f"{len(plain)} values, {len(sound)} of them finite numbers" if numbers else f"{type(given).__name__}"
        raise DataError(
            f"--downstream {downstream.name} on {found.name}: returned {said}; "
            f"expected one number, or {len(chosen)} numbers, one of each reply"
        )
    return sound


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, bool) else as_number(value)
