"""The judge stage: every turn of a block of conversations asked at once, in an async actor.

How many questions are really in flight is the judge's own bound; several blocks are open in one actor, so that the tail
of one does not leave the judge idle.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from wildreward.judge.choose import make_judge
from wildreward.judge.types import Judge, RefusalVerdict, TurnText, Verdict
from wildreward.refusals import needs_refusal_question
from wildreward.schema import FEEDBACK
from wildreward.settings.label import LabelSettings


class JudgeTurns:
    """Fills in the turns of FEEDBACK rows. Its name is what the Ray dashboard shows."""

    def __init__(self, settings: LabelSettings) -> None:
        self._settings = settings
        self._judge: Judge | None = None

    async def __call__(self, block: pa.Table) -> pa.Table:
        """The same rows with levels and evidence. Raises JudgeError when the judge cannot be used at all."""
        if self._judge is None:  # not in __init__: Ray reports a failed constructor as a dead actor, without its cause
            self._judge = make_judge(self._settings)
        rows = block.select(["messages", "turns"]).to_pylist()
        await judge_turns(self._judge, rows, self._settings)
        return with_turns(block, rows)


async def judge_turns(judge: Judge, rows: Sequence[Mapping[str, Any]], settings: LabelSettings) -> None:
    """Judge all turns of all rows concurrently, in place. The first JudgeError cancels the rest and is raised."""
    tasks = [
        asyncio.ensure_future(_judge_turn(judge, row["messages"], turn, settings))
        for row in rows
        for turn in row["turns"] or ()
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _judge_turn(
    judge: Judge, messages: list[dict[str, str]], turn: dict[str, Any], settings: LabelSettings
) -> None:
    text = turn_text(messages, turn)
    verdict = await judge.feedback(text)
    turn.update(_evidence(verdict))
    if needs_refusal_question(verdict.level, text.response, settings):
        _add_refusal(turn, await judge.refusal(text))


def turn_text(messages: Sequence[Mapping[str, str]], turn: Mapping[str, Any]) -> TurnText:
    """The texts of a turn, from the positions it keeps."""
    content = [messages[turn[name]]["content"] for name in ("prompt_index", "response_index", "follow_up_index")]
    return TurnText([dict(message) for message in messages[: turn["prompt_index"]]], *content)


def with_turns(block: pa.Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The block with the `turns` of these rows, in the schema's types."""
    place, field = FEEDBACK.get_field_index("turns"), FEEDBACK.field("turns")
    turns = pa.array([row["turns"] for row in rows], type=field.type)
    return block.set_column(place, field, turns)


def _evidence(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    names = ("level", "raw", "judge", "prompt_version", "attempts", "prompt_tokens", "completion_tokens", "error")
    yield from ((name, getattr(verdict, name)) for name in (*names, "error_detail"))
    yield "level_probs", None if verdict.level_probs is None else list(verdict.level_probs)


def _add_refusal(turn: dict[str, Any], verdict: RefusalVerdict) -> None:
    """The second answer; its requests and tokens are added to those of the first."""
    turn["refusal_verdict"] = verdict.verdict
    turn["refusal_raw"] = verdict.raw
    turn["refusal_error"] = verdict.error
    for name in ("attempts", "prompt_tokens", "completion_tokens"):
        more = getattr(verdict, name)
        turn[name] = more if turn[name] is None else turn[name] + (more or 0)
