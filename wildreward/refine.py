"""From the evidence in a feedback row to the level each turn is used with: refusal verdicts and hindsight.

Refusals first: a complaint about a justified refusal says nothing against the reply, and the refusal counts as good
work (level 5). Then hindsight, over the levels as judged: only what users said lends labels or blocks them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wildreward.hindsight import donor
from wildreward.scale import NEGATIVE_LEVELS, NEUTRAL, SATISFACTION
from wildreward.settings.label import LabelSettings

JUSTIFIED = 1
REFUSAL_UNVERIFIED = "refusal_unverified"


@dataclass(frozen=True)
class RefinedTurn:
    """A turn's level after refinement.

    `level` is None where the judge gave none (`judged_level` is None too), or where `dropped` names why a judged turn
    cannot be used: `refusal_unverified`, negative feedback on what looks like a refusal, about which the judge's answer
    could not be had. `source`: explicit, hindsight (with the donor's number) or refusal.
    """

    turn: int
    level: int | None
    judged_level: int | None
    source: str
    donor_turn: int | None = None
    dropped: str | None = None


def refine(feedback_row: Mapping[str, Any], settings: LabelSettings) -> list[RefinedTurn]:
    """All turns of one FEEDBACK row, in order.

    Raises KeyError when a similarity that hindsight needs is not in the row: it was written with a smaller window.
    """
    turns = feedback_row["turns"] or []
    levels = {turn["turn"]: turn["level"] for turn in turns}
    return [_refine_turn(turn, levels, settings) for turn in turns]


def _refine_turn(turn: Mapping[str, Any], levels: Mapping[int, int | None], settings: LabelSettings) -> RefinedTurn:
    number, level = turn["turn"], turn["level"]
    if level in NEGATIVE_LEVELS and settings.refusal_validation:
        if turn["refusal_error"] is not None:
            return RefinedTurn(number, None, level, "explicit", dropped=REFUSAL_UNVERIFIED)
        if turn["refusal_verdict"] == JUSTIFIED:
            return RefinedTurn(number, SATISFACTION, level, "refusal")
    if level == NEUTRAL and settings.hindsight_window_turns > 0:
        found = _donor(turn, levels, settings)
        if found is not None:
            return RefinedTurn(number, levels[found], level, "hindsight", found)
    return RefinedTurn(number, level, level, "explicit")


def _donor(turn: Mapping[str, Any], levels: Mapping[int, int | None], settings: LabelSettings) -> int | None:
    similarities = {item["turn"]: item["cosine"] for item in turn["similarities"] or ()}
    window, least = settings.hindsight_window_turns, settings.hindsight_min_similarity
    return donor(turn["turn"], levels, similarities, window, least)
