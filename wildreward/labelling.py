"""What a row is trained towards: its class, and the distribution over classes where the judge gave probabilities.

The class is the `label` column as it is (class map `data`), or follows from the `level` column by one of
`wildreward.scale.CLASS_MAPS`. Soft targets are the judge's five level probabilities, summed by class and renormalised.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from wildreward.errors import DataError
from wildreward.scale import CLASS_MAPS, LEVELS, NEUTRAL

ClassMap = Literal["data", "four", "five", "binary"]

PROBS_TOLERANCE = 1e-3
"""How far level probabilities may be from summing to 1: they are stored as fp32."""

MIN_MASS = 1e-6
"""Level probabilities that leave less than this to the classes of a map say nothing about them."""


@dataclass(frozen=True)
class Labelling:
    """How the rows of a WildFB file become classes 1..num_classes."""

    num_classes: int
    class_map: ClassMap = "data"
    soft: bool = False

    @property
    def level_map(self) -> Mapping[int, int] | None:
        """Level -> class, or None where the label column is the class."""
        return CLASS_MAPS.get(self.class_map)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a WildFB row that decide its class and target."""
        return ("label" if self.level_map is None else "level", *(["level_probs"] if self.soft else []))

    def class_of(self, row: Mapping[str, Any]) -> int | None:
        """The class of a row, or None where the class map drops its level. Raises ValueError naming the field."""
        if self.level_map is None:
            label = row["label"]
            if not isinstance(label, int) or not 1 <= label <= self.num_classes:
                raise ValueError(f"label: found {label!r}; allowed are 1..{self.num_classes}")
            return label
        level = row["level"]
        if level not in LEVELS:
            raise ValueError(f"level: found {level!r}; allowed are {LEVELS}")
        return self.level_map.get(level)


def class_probs(level_probs: Sequence[float], level_map: Mapping[int, int]) -> list[float] | None:
    """Probabilities of the classes 1..C of a map, from those of the five levels: summed by class, renormalised.

    None where the map drops (nearly) all the mass: such a row has its hard class only.

    >>> from wildreward.scale import FOUR_CLASSES
    >>> [round(p, 4) for p in class_probs([0.1, 0.2, 0.5, 0.1, 0.1], FOUR_CLASSES)]
    [0.2, 0.4, 0.2, 0.2]
    >>> class_probs([0.0, 0.0, 1.0, 0.0, 0.0], FOUR_CLASSES)
    """
    sums = [0.0] * max(level_map.values())
    for level, name in level_map.items():
        sums[name - 1] += level_probs[level - 1]
    mass = sum(sums)
    return [part / mass for part in sums] if mass >= MIN_MASS else None


def check_level_probs(probs: Sequence[float]) -> None:
    """Raises ValueError for what is no distribution over the five levels."""
    if len(probs) != len(LEVELS):
        raise ValueError(f"level_probs: found {len(probs)} numbers; expected {len(LEVELS)}, one a level")
    if not all(isinstance(p, float | int) and math.isfinite(p) and p >= 0 for p in probs):
        raise ValueError(f"level_probs: found {list(probs)}; each must be a number from 0 to 1")
    if abs(sum(probs) - 1) > PROBS_TOLERANCE:
        raise ValueError(f"level_probs: found {list(probs)}, which sum to {sum(probs):.4g}; they must sum to 1")


@dataclass
class LabelCounts:
    """Of the rows of one file or of many: how many have each class, were dropped by the map, have a distribution."""

    classes: Counter[int] = field(default_factory=Counter)
    dropped: int = 0
    soft: int = 0

    @property
    def rows(self) -> int:
        return self.classes.total()

    def add(self, row: Mapping[str, Any], labelling: Labelling) -> None:
        """Raises ValueError naming the field that cannot be used."""
        found = labelling.class_of(row)
        if found is None:
            self.dropped += 1
            return
        self.classes[found] += 1
        if labelling.soft and row["level_probs"] is not None:
            check_level_probs(row["level_probs"])
            self.soft += class_probs(row["level_probs"], labelling.level_map or {}) is not None

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        return LabelCounts(self.classes + other.classes, self.dropped + other.dropped, self.soft + other.soft)


def check_counts(counts: LabelCounts, labelling: Labelling, where: str) -> None:
    """Raises DataError where these rows cannot be trained on as the settings ask."""
    if labelling.class_map == "five" and counts.rows and not counts.classes[NEUTRAL]:
        raise DataError(
            f"{where}: class_map five, but no row has level {NEUTRAL} (neutral): they were dropped when the rows were "
            "made. Use class_map four, or make rows with `label --class-map five` (the judge is not asked again)"
        )
    if labelling.soft and counts.rows and not counts.soft:
        raise DataError(
            f"{where}: targets soft, but no row has usable level_probs; label with a judge that gives them, or use "
            "targets hard"
        )


def label_lines(counts: LabelCounts, labelling: Labelling) -> list[str]:
    """What is said of the rows before training: lines for the terminal, none where nothing is special."""
    lines = []
    if counts.dropped:
        lines.append(f"class map {labelling.class_map}: {counts.dropped:,} rows have a level it drops")
    if labelling.soft:
        hard = counts.rows - counts.soft
        lines.append(f"soft targets: {counts.soft:,} rows; {hard:,} without level_probs are trained on their label")
    return lines
