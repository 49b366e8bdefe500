"""The feedback scale: five levels read from the user's next message, and the classes a reward model is trained on.

Source: WildReward, arXiv 2602.08829. A level is what the judge says of one turn; a class is what is left after neutral
turns were mined or dropped.
"""

from collections.abc import Mapping

LEVEL_NAMES: Mapping[int, str] = {
    1: "rejection",
    2: "error correction",
    3: "neutral or unclear",
    4: "positive engagement",
    5: "satisfaction",
}
LEVELS = tuple(LEVEL_NAMES)
REJECTION, CORRECTION, NEUTRAL, ENGAGEMENT, SATISFACTION = LEVELS

NEGATIVE_LEVELS = frozenset({REJECTION, CORRECTION})
POSITIVE_LEVELS = frozenset({ENGAGEMENT, SATISFACTION})

FOUR_CLASSES: Mapping[int, int] = {1: 1, 2: 2, 4: 3, 5: 4}
"""Level -> class of the paper: neutral turns that were not mined have no class."""

CLASS_MAPS: Mapping[str, Mapping[int, int]] = {
    "four": FOUR_CLASSES,
    "five": {level: level for level in LEVELS},
    "binary": {1: 1, 2: 1, 4: 2, 5: 2},
}
"""Level -> class; a level that is missing is dropped. `label` writes rows by one of them, `train` may use another."""


def class_of(level: int, class_map: Mapping[int, int] = FOUR_CLASSES) -> int | None:
    """The class of a level, or None where the map drops it.

    >>> [class_of(level) for level in LEVELS]
    [1, 2, None, 3, 4]
    """
    if level not in LEVEL_NAMES:
        raise ValueError(f"level: found {level!r}; allowed are {LEVELS}")
    return class_map.get(level)


def class_names(num_classes: int) -> list[str] | None:
    """What the classes 1..C mean: of the paper's four, or of all five levels. None for other numbers of classes.

    >>> class_names(4)
    ['rejection', 'error correction', 'positive engagement', 'satisfaction']
    """
    kept = {len(FOUR_CLASSES): sorted(FOUR_CLASSES), len(LEVELS): list(LEVELS)}.get(num_classes)
    return None if kept is None else [LEVEL_NAMES[level] for level in kept]
