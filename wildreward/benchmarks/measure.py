"""A model's statistic beside its baselines: values, intervals, paired differences, and what they allow to be said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from wildreward.bootstrap import MIN_GROUPS, Estimate, Samples, resample
from wildreward.metrics import Array, Statistic

GroupBy = Literal["conversation", "user", "row"]


@dataclass(frozen=True)
class MeasureOptions:
    """How uncertainty is estimated."""

    replicates: int = 1000
    confidence: float = 0.95
    seed: int = 0
    bins: int = 10
    group_by: GroupBy = "conversation"


@dataclass(frozen=True)
class Measure:
    """One metric of the model, the same metric of each baseline, and its value by chance (None where there is none)."""

    model: Statistic
    baselines: Mapping[str, Statistic] = field(default_factory=dict)
    chance: float | None = None
    higher_is_better: bool = True
    members_N: Array | None = None
    """The items it is about, when not all: too few groups among them give no interval."""
    parts: Sequence[Array] = ()
    """Items (N,) that must each hold enough groups too: the two sides of a balanced mean."""


@dataclass(frozen=True)
class BaselineResult:
    estimate: Estimate
    difference: Estimate
    """Model minus baseline, on the same resamples."""


@dataclass(frozen=True)
class Metric:
    """A measured metric; the two verdicts are None where the comparison does not exist."""

    estimate: Estimate
    count: int
    chance: float | None
    higher_is_better: bool
    baselines: Mapping[str, BaselineResult]

    @property
    def against_chance(self) -> str | None:
        if self.chance is None:
            return None
        return _verdict(self.estimate.side_of(self.chance), self.higher_is_better, "chance", "no better than")

    @property
    def against_length(self) -> str | None:
        length = self.baselines.get("length")
        if length is None:
            return None
        return _verdict(length.difference.side_of(0.0), self.higher_is_better, "length", "no different from")

    def to_dict(self) -> dict[str, Any]:
        baselines = {
            name: vars(baseline.estimate) | {"difference": dict(vars(baseline.difference))}
            for name, baseline in self.baselines.items()
        }
        return vars(self.estimate) | {
            "count": self.count,
            "higher_is_better": self.higher_is_better,
            "chance": self.chance,
            "against_chance": self.against_chance,
            "against_length": self.against_length,
            "baselines": baselines,
        }


Metrics = dict[str, Metric]


def measure_all(measures: Mapping[str, Measure], groups_N: Array, options: MeasureOptions) -> Metrics:
    """Every measure on the same resamples of the groups."""
    statistics = {(name, "model"): measure.model for name, measure in measures.items()}
    for name, measure in measures.items():
        statistics |= {(name, baseline): statistic for baseline, statistic in measure.baselines.items()}
    keys = {"\n".join(key): statistic for key, statistic in statistics.items()}
    samples = resample(keys, groups_N, options.replicates, options.seed)
    return {name: _metric(name, measure, samples, groups_N, options) for name, measure in measures.items()}


def _metric(
    name: str, measure: Measure, samples: Mapping[str, Samples], groups_N: Array, options: MeasureOptions
) -> Metric:
    members_N = np.ones(len(groups_N), dtype=bool) if measure.members_N is None else measure.members_N
    enough = all(len(np.unique(groups_N[part_N])) >= MIN_GROUPS for part_N in (members_N, *measure.parts))

    def estimate(sample: Samples) -> Estimate:
        made = sample.estimate(options.confidence)
        return made if enough else Estimate(made.value)

    model = samples[f"{name}\nmodel"]
    baselines = {
        baseline: BaselineResult(estimate(sample), estimate(model.minus(sample)))
        for baseline in measure.baselines
        for sample in [samples[f"{name}\n{baseline}"]]
    }
    return Metric(estimate(model), int(members_N.sum()), measure.chance, measure.higher_is_better, baselines)


def _verdict(side: int | None, higher_is_better: bool, reference: str, undecided: str) -> str:
    """Words for where an interval lies.

    >>> _verdict(1, True, "chance", "no better than"), _verdict(0, True, "length", "no different from")
    ('better than chance', 'no different from length')
    >>> _verdict(None, True, "chance", "no better than")
    'too few to compare with chance'
    """
    if side is None:
        return f"too few to compare with {reference}"
    if side == 0:
        return f"{undecided} {reference}"
    return f"{'better' if (side > 0) == higher_is_better else 'worse'} than {reference}"
