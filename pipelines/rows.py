"""From one feedback/ row to the WildFB rows it gives: refine levels, map to classes, filter. Pure and counted."""

from collections.abc import Mapping
from typing import Any

from wildreward.funnel import Funnel
from wildreward.quality import drop_reason
from wildreward.refine import RefinedTurn, refine
from wildreward.scale import NEUTRAL
from wildreward.settings.label import LabelSettings


def wildfb_rows(feedback: Mapping[str, Any], settings: LabelSettings, funnel: Funnel) -> list[dict[str, Any]]:
    """WILDFB rows of one FEEDBACK row, in the order of its turns; `funnel` counts every turn, kept or dropped."""
    funnel.add_conversation(feedback)
    if feedback["status"] != "kept":
        return []
    turns = {turn["turn"]: turn for turn in feedback["turns"]}
    rows = []
    for refined in refine(feedback, settings):
        if refined.judged_level is None:
            continue  # its error is counted with the turns
        funnel.rows_in += 1
        turn = turns[refined.turn]
        row = _row(feedback, turn, refined)
        if refined.level is None:
            funnel.drop(refined.dropped or "no_level", row, turn["raw"])
            continue
        funnel.refined(refined.level, row)
        reason = _class_reason(row, settings) or drop_reason(row, settings)
        if reason:
            funnel.drop(reason, row, turn["raw"])
            continue
        funnel.keep(row, turn["raw"])
        rows.append(row)
    return rows


def _class_reason(row: dict[str, Any], settings: LabelSettings) -> str | None:
    row["label"] = settings.classes.get(row["level"])
    if row["label"] is not None:
        return None
    return "neutral" if row["level"] == NEUTRAL else "no_class"


def _row(feedback: Mapping[str, Any], turn: Mapping[str, Any], refined: RefinedTurn) -> dict[str, Any]:
    messages = feedback["messages"]
    return {
        "id": f"{feedback['row_id']}/{refined.turn}",
        "conversation_hash": feedback["conversation_hash"],
        "turn": refined.turn,
        "messages": messages[: turn["response_index"] + 1],
        "follow_up": messages[turn["follow_up_index"]]["content"],
        "level": refined.level,
        "judged_level": refined.judged_level,
        "level_probs": turn["level_probs"] if refined.level == refined.judged_level else None,
        "source": refined.source,
        "donor_turn": refined.donor_turn,
        "language": feedback["language"],
        "model": feedback["model"],
        "user": feedback["user"],
        "judge": turn["judge"],
        "prompt_version": turn["prompt_version"],
    }
