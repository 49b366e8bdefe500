"""The search space of a sweep: a YAML of fields of `train`, and the list of trials that it means.

    head: [coral, corn, independent]            # every value is tried, against every other list
    lr: {loguniform: [1.0e-5, 3.0e-4]}          # drawn anew for each pass over the lists
    batch_rows: {choice: [8, 16, 32]}           # one of these is drawn
    label_smoothing: {quniform: [0, 0.2, 0.05]} # drawn, in steps of the third number
    lora_rank: {grid: [8, 16], when: {lora: true}}   # varies in the trials where the condition holds

uniform, loguniform and randint take [low, high], both ends included; with a q in front [low, high, step]. A knob whose
condition does not hold keeps the value that all trials start from; trials that come out alike are run once. The
cutpoint knobs matter to coral alone and have that condition by themselves. All draws are a function of (seed, pass,
field): a field that is added changes no other field's values.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

LISTED = ("grid", "choice")
RANGES = ("uniform", "loguniform", "randint")
KINDS = (*LISTED, *RANGES, *(f"q{kind}" for kind in RANGES))
IMPLIED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "cutpoint_start": {"head": ("coral",)},
    "cutpoint_freedom": {"head": ("coral",)},
}
"""Fields that only some trials read: where a head has no cutpoints, their values would give the same trial twice."""

Trial = dict[str, Any]
"""Field -> value of what a trial varies; a knob whose condition does not hold is absent."""


@dataclass(frozen=True)
class Knob:
    """One field of a search space. `values` are the listed ones, or [low, high] and, of a q kind, the step."""

    name: str
    kind: str
    values: tuple[Any, ...]
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def is_log(self) -> bool:
        return "loguniform" in self.kind

    def examples(self) -> tuple[Any, ...]:
        """What must be a good value of the field: all listed ones, or both ends."""
        return self.values if self.kind in LISTED else self.values[:2]

    def draw(self, rng: random.Random) -> Any:
        """A value of a knob that is not a grid."""
        if self.kind == "choice":
            return rng.choice(self.values)
        low, high, *step = self.values
        if self.kind == "randint":
            return rng.randint(low, high)
        found = math.exp(rng.uniform(math.log(low), math.log(high))) if self.is_log else rng.uniform(low, high)
        if not step:
            return min(max(found, low), high)
        steps = math.floor((high - low) / step[0] + 1e-9)
        # A drawn value is rounded to the grid low, low + step, ...; a whole grid stays whole numbers.
        snapped = low + min(round((found - low) / step[0]), steps) * step[0]
        return snapped if isinstance(snapped, int) else float(f"{snapped:.12g}")


def parse(space: Mapping[str, Any]) -> list[Knob]:
    """The knobs of a space. Raises ValueError naming the field, what was found and what is allowed."""
    if not space:
        raise ValueError("a sweep needs at least one field to vary")
    knobs = [_knob(name, found) for name, found in space.items()]
    conditional = {knob.name for knob in knobs if knob.when}
    for knob in knobs:
        for other in sorted(set(knob.when) & conditional):
            raise ValueError(f"{knob.name}: when: found {other}, which has a condition itself; name one that has none")
    return knobs


def _knob(name: str, found: Any) -> Knob:
    if isinstance(found, list):
        found = {"grid": found}
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{name}: found {found!r}; {_allowed()}")
    kinds = [kind for kind in found if kind != "when"]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        raise ValueError(f"{name}: found {', '.join(map(str, kinds)) or 'no kind'}; {_allowed()}")
    kind, values = kinds[0], found[kinds[0]]
    problem = _listed_problem(values) if kind in LISTED else _range_problem(kind, values)
    if problem:
        raise ValueError(f"{name}: {kind}: found {values!r}; {problem}")
    return Knob(name, kind, tuple(values), {**IMPLIED.get(name, {}), **_when(name, found.get("when", {}))})


def _allowed() -> str:
    return (
        "allowed is a list of values (all are tried), or one of "
        f"{', '.join(KINDS)}, and beside it `when: {{field: value}}`"
    )


def _listed_problem(values: Any) -> str | None:
    if not isinstance(values, list) or not values:
        return "a list of values is needed"
    repeated = [value for place, value in enumerate(values) if value in values[:place]]
    return f"{repeated[0]!r} is there twice" if repeated else None


def _range_problem(kind: str, values: Any) -> str | None:
    form = "[low, high, step]" if kind.startswith("q") else "[low, high]"
    length = 3 if kind.startswith("q") else 2
    if not isinstance(values, list) or len(values) != length or not all(map(_is_number, values)):
        return f"{form} of numbers is needed"
    if not values[0] < values[1]:
        return f"{form} with low < high is needed"
    if kind.endswith("randint") and not all(isinstance(value, int) for value in values):
        return "whole numbers are needed"
    if "log" in kind and values[0] <= 0:
        return "low must be above 0"
    if length == 3 and not 0 < values[2] <= values[1] - values[0]:
        return "the step must be above 0 and at most high - low"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _when(name: str, found: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(found, dict):
        raise ValueError(f"{name}: when: found {found!r}; allowed is {{field: value}} or {{field: [value, ...]}}")
    if name in found:
        raise ValueError(f"{name}: when: found {name}; a knob cannot depend on itself")
    return {other: tuple(value) if isinstance(value, list) else (value,) for other, value in found.items()}


def trials(knobs: Sequence[Knob], base: Mapping[str, Any], num_samples: int, seed: int) -> list[Trial]:
    """Every trial once, in order: for each pass the product of the lists, with the pass's own draws.

    `base` holds the values of what is not varied, for the conditions.

    >>> knobs = parse({"head": ["coral", "corn"], "cutpoint_start": ["frequencies", "even"]})
    >>> trials(knobs, {}, num_samples=1, seed=0)
    [{'head': 'coral', 'cutpoint_start': 'frequencies'}, {'head': 'coral', 'cutpoint_start': 'even'}, {'head': 'corn'}]
    """
    found: list[Trial] = []
    for values in _assignments(knobs, num_samples, seed):
        trial = {knob.name: values[knob.name] for knob in knobs if _holds(knob, {**base, **values})}
        if trial not in found:
            found.append(trial)
    return found


def _assignments(knobs: Sequence[Knob], num_samples: int, seed: int) -> Iterator[Trial]:
    """A value for every knob, whether its condition holds or not."""
    grids = [knob for knob in knobs if knob.kind == "grid"]
    drawn = [knob for knob in knobs if knob.kind != "grid"]
    for sample in range(num_samples):
        for place, values in enumerate(product(*(knob.values for knob in grids))):
            fixed = {knob.name: value for knob, value in zip(grids, values, strict=True)}
            free = {knob.name: knob.draw(random.Random(f"{seed} {sample} {place} {knob.name}")) for knob in drawn}
            yield fixed | free


def _holds(knob: Knob, values: Mapping[str, Any]) -> bool:
    return all(values.get(other) in allowed for other, allowed in knob.when.items())


def constraint(knob: Knob) -> str:
    """In words: what a knob may be, and when.

    >>> constraint(parse({"lr": {"loguniform": [1e-5, 1e-3]}})[0])
    'loguniform 1e-05 to 0.001'
    >>> constraint(parse({"cutpoint_start": ["even"]})[0])
    'even, where head is coral'
    """
    listed = ", ".join(map(str, knob.values))
    said = {"grid": listed, "choice": f"one of {listed}"}.get(knob.kind)
    if said is None:
        low, high, *step = knob.values
        said = f"{knob.kind} {low:g} to {high:g}" + (f" in steps of {step[0]:g}" if step else "")
    conditions = [f"{other} is {' or '.join(map(str, allowed))}" for other, allowed in knob.when.items()]
    return f"{said}, where {' and '.join(conditions)}" if conditions else said
