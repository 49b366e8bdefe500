"""The parts (subsets, sections, domains) of an official benchmark: which are there, and their mean and minimum.

A mean over parts is null as soon as one of them is absent, and a part of another size than the official one is named:
nothing is averaged in silently.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.measure import Measure
from wildreward.metrics import Array, Statistic, rate_within

CHANCE = 0.5


@dataclass(frozen=True)
class Coverage:
    """Rows of each part: how many the official files have, how many were read, how many could be evaluated."""

    expected: Mapping[str, int]
    """Official number of rows of each part."""
    rows: Mapping[str, int]
    evaluated: Mapping[str, int]
    total: int | None = None
    """Official number of rows of all parts together, where that alone is known."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Rows that the official rule itself leaves out, by part: no fault of the files."""
    reported: bool = True
    """Whether it is the split that papers report."""

    @property
    def problems(self) -> list[str]:
        """What differs from the official files, one clause each.

        >>> for problem in Coverage({"math": 4, "code": 2}, {"math": 3, "odd": 1}, {"math": 2, "odd": 1}).problems:
        ...     print(problem)
        code is absent (2 rows expected)
        math has 3 rows (4 expected)
        1 of the rows of math could not be evaluated
        odd is no part of it (1 rows, left out of the mean)
        """
        found = [
            f"{part} is absent ({count} rows expected)" for part, count in self.expected.items() if not self._of(part)
        ]
        for part, count in self.expected.items():
            if self._of(part) not in (0, count):
                found.append(f"{part} has {self._of(part)} rows ({count} expected)")
        for part in [part for part in self.expected if self._of(part)]:
            lost = self._of(part) - self.evaluated.get(part, 0) - self.left_out.get(part, 0)
            if lost:
                found.append(f"{lost} of the rows of {part} could not be evaluated")
        unknown = {part: count for part, count in self.rows.items() if part not in self.expected}
        found += [f"{part} is no part of it ({count} rows, left out of the mean)" for part, count in unknown.items()]
        read = sum(self.rows.values())
        if self.total is not None and read != self.total:
            found.append(f"it has {read} rows ({self.total} expected)")
        return found

    def _of(self, part: str) -> int:
        return self.rows.get(part, 0)

    def notes(self) -> tuple[str, ...]:
        """One sentence for the console and the report; none when all is there."""
        return (f"PARTIAL, not comparable with published numbers: {'; '.join(self.problems)}",) if self.problems else ()

    def to_dict(self) -> dict[str, Any]:
        parts = {
            part: {
                "expected": self.expected.get(part),
                "rows": self._of(part),
                "evaluated": self.evaluated.get(part, 0),
            }
            for part in dict.fromkeys([*self.expected, *self.rows])
        }
        return {
            "complete": not self.problems,
            "reported": self.reported,
            "problems": self.problems,
            "parts": parts,
        }


def coverage(
    items: Iterable[Mapping[str, Any]],
    part: str,
    expected: Mapping[str, int],
    total: int | None = None,
    left_out: Iterable[str] = (),
) -> Coverage:
    """Coverage of the items by their field `part`; `left_out` are reasons in `skipped` that are the official rule's."""
    rows: Counter[str] = Counter()
    evaluated: Counter[str] = Counter()
    by_rule: Counter[str] = Counter()
    for item in items:
        name = str(item.get(part))
        rows[name] += 1
        evaluated[name] += item["skipped"] is None
        by_rule[name] += item["skipped"] in set(left_out)
    return Coverage(expected, rows, evaluated, total, by_rule)


def mean_of(parts: Sequence[Measure], weights: Sequence[float] | None = None, chance: float | None = None) -> Measure:
    """Mean of measures, of their baselines too; NaN (null) where one part is NaN, without interval where one has none.

    >>> one, absent = (Measure(lambda weights, value=value: np.full(len(weights), value)) for value in (1.0, np.nan))
    >>> mean_of([one, one]).model(np.ones((1, 3))), mean_of([one, absent]).model(np.ones((1, 3)))
    (array([1.]), array([nan]))
    """
    shares = np.asarray([1.0] * len(parts) if weights is None else weights, dtype=float)
    return _combined(parts, lambda values_PR: shares @ values_PR / shares.sum(), chance)


def minimum_of(parts: Sequence[Measure]) -> Measure:
    """The lowest of measures (of accuracies: the worst part); NaN where one part is NaN."""
    return _combined(parts, lambda values_PR: values_PR.min(0), None)


def _combined(parts: Sequence[Measure], how: Callable[[Array], Array], chance: float | None) -> Measure:
    names = [name for name in parts[0].baselines if all(name in part.baselines for part in parts)]
    baselines = {name: _statistic([part.baselines[name] for part in parts], how) for name in names}
    model, better = _statistic([part.model for part in parts], how), parts[0].higher_is_better
    members = [members_N for part in parts for members_N in _members(part)]
    return Measure(model, baselines, chance, better, parts=members)


def _members(part: Measure) -> list[Array]:
    """A mean has no interval where one of its parts is too small for one."""
    return [*([] if part.members_N is None else [part.members_N]), *part.parts]


def _statistic(statistics: Sequence[Statistic], how: Callable[[Array], Array]) -> Statistic:
    return lambda weights_RN: how(np.stack([statistic(weights_RN) for statistic in statistics]))


def pair_hits(found: EvaluationSet, seed: int) -> dict[str, Array]:
    """Which scored pairs the model and each baseline get right; a tie of scores or of lengths is wrong."""
    longer_by_N = found.column("chars_chosen") - found.column("chars_rejected")
    coins_N = np.random.default_rng(seed).random(len(longer_by_N))
    return {"model": found.column("margin") > 0, "length": longer_by_N > 0, "random": coins_N < CHANCE}


def part_measure(hits: Mapping[str, Array], members_N: Array, chance: float | None = CHANCE) -> Measure:
    """Rate of hits among the members, of the model and of each baseline."""
    rates = {who: rate_within(hit_N, members_N) for who, hit_N in hits.items()}
    return Measure(rates.pop("model"), rates, chance, members_N=members_N)


def slug(part: str) -> str:
    """The name of a part as the name of a metric.

    >>> slug("Precise IF"), slug("safety-refuse")
    ('precise_if', 'safety_refuse')
    """
    return part.lower().replace(" ", "_").replace("-", "_")
