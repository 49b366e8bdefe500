"""Implicit feedback: a neutral turn takes the label of an explicit positive that soon follows on the same topic.

Method of WildReward (arXiv 2602.08829, "implicit feedback mining"), with the nearest signal first: an explicit negative
on the same topic that stands nearer than the positive means that the praise was for something that came in between.
Turns are told apart by their number in the conversation, never by their place in a list that may have gaps. A neutral
turn is used once, with the label of one donor; one donor may lend to all neutral turns that reach it, because what was
praised in the end took all of them (the published scripts do the same, but repeat a row that has two donors).
"""

from collections.abc import Mapping

from wildreward.scale import NEUTRAL, POSITIVE_LEVELS

Levels = Mapping[int, int | None]
"""Turn number -> level, as judged; None where the judge gave none."""


def candidate_pairs(levels: Levels, window: int) -> list[tuple[int, int]]:
    """(neutral turn, later turn) pairs, as turn numbers, whose follow-ups must be compared to tell the donor.

    For each neutral turn: the explicit turns among the next `window`, up to the farthest positive. Without a positive
    in its window it needs no comparison.

    >>> candidate_pairs({0: 3, 1: 2, 2: 5, 3: 1}, window=2), candidate_pairs({0: 3, 1: 2, 2: 3, 4: 4}, window=2)
    ([(0, 1), (0, 2)], [(2, 4)])
    """
    return [(turn, later) for turn in sorted(levels) for later in _within_reach(turn, levels, window)]


def donor(
    turn: int, levels: Levels, similarities: Mapping[int, float], window: int, min_similarity: float
) -> int | None:
    """The later turn whose label a neutral turn takes, or None: the first explicit turn on its topic, if positive.

    `similarities`: cosine of this turn's follow-up with that of each turn `candidate_pairs` names for it. A pair that
    was not compared raises KeyError.

    >>> donor(0, {0: 3, 1: 3, 2: 5}, {2: 0.7}, window=2, min_similarity=0.5)
    2
    >>> donor(0, {0: 3, 1: 2, 2: 5}, {1: 0.6, 2: 0.7}, window=2, min_similarity=0.5) is None
    True
    """
    for later in _within_reach(turn, levels, window):
        if similarities[later] >= min_similarity:
            return later if levels[later] in POSITIVE_LEVELS else None
    return None


def _within_reach(turn: int, levels: Levels, window: int) -> list[int]:
    if levels[turn] != NEUTRAL:
        return []
    ahead = range(turn + 1, turn + window + 1)
    explicit = [later for later in ahead if levels.get(later) not in (None, NEUTRAL)]
    positive = [later for later in explicit if levels[later] in POSITIVE_LEVELS]
    return [later for later in explicit if later <= positive[-1]] if positive else []
