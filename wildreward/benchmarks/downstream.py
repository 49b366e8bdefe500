"""What the chosen replies are worth downstream: a user's function judges the reply that the reward model picks.

    # judge.py
    def exact(chosen: list[dict]) -> list[float]:      # or one number for all of them
        return [float(one["response"].strip() == ANSWERS[one["id"]]) for one in chosen]

    wildreward evaluate --input candidates.jsonl --downstream judge:exact ...

Each of `chosen` has `set`, `id`, `prompt` (messages) and `response`: of every prompt the highest-scored reply, the
first of equals. The function is called for the model's choice and for those of the baselines length and random, three
times a set.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildreward.benchmarks.evaluation_set import as_number
from wildreward.benchmarks.measure import BaselineResult, Measure, MeasureOptions, Metric, Metrics, measure_all
from wildreward.bootstrap import Estimate
from wildreward.errors import DataError, UsageError
from wildreward.metrics import Array, mean

if TYPE_CHECKING:
    from wildreward.benchmarks.reply_lists import ReplyLists

METRIC = "downstream"


@dataclass(frozen=True)
class Downstream:
    """A function of chosen replies, and what it was called on the command line."""

    name: str
    call: Callable[[list[dict[str, Any]]], Any]


def load_downstream(name: str) -> Downstream:
    """The function named `module:function`, found from the working directory too. Raises UsageError."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise UsageError(f"--downstream {name}: expected module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--downstream {name}: {error}") from error
    if not callable(found):
        raise UsageError(f"--downstream {name}: {function} is a {type(found).__name__}; expected a function")
    return Downstream(name, found)


def downstream_metrics(
    found: "ReplyLists", orders: Mapping[str, Sequence[Array]], options: MeasureOptions
) -> tuple[Metrics, dict[str, Any]]:
    """The metric `downstream` and what made it; nothing where no function was given. Raises DataError."""
    downstream = found.downstream
    if downstream is None:
        return {}, {}
    values = {who: _values(downstream, found, [int(row.argmax()) for row in rows]) for who, rows in orders.items()}
    each = {who: row for who, row in values.items() if isinstance(row, list)}
    extra = {"downstream": {"function": downstream.name, "one_number_each": len(each) == len(values)}}
    if len(each) == len(values):
        for item, value in zip(found.scored, each["model"], strict=True):
            item[METRIC] = value
        means = {who: mean(np.array(row)) for who, row in each.items()}
        return measure_all({METRIC: Measure(means.pop("model"), means)}, found.groups(options), options), extra
    numbers = {who: float(np.mean(row)) for who, row in values.items()}
    model = numbers.pop("model")
    baselines = {who: BaselineResult(Estimate(number), Estimate(model - number)) for who, number in numbers.items()}
    return {METRIC: Metric(Estimate(model), len(found.scored), None, True, baselines)}, extra


def _values(downstream: Downstream, found: "ReplyLists", picks: Sequence[int]) -> list[float] | float:
    chosen = []
    for item, pick in zip(found.scored, picks, strict=True):
        *prompt, reply = found.texts_of(item)[pick]
        chosen.append({"set": found.name, "id": item["id"], "prompt": prompt, "response": reply["content"]})
    given = downstream.call(chosen)
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
