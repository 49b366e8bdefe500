"""The judge stage: every turn of a block of conversations asked at once, in an async actor.

How many questions are really in flight is the judge's own bound; several blocks are open in one actor, so that the tail
of one does not leave the judge idle.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from pipelines.judge_metrics import JudgeMetrics
from pipelines.label_state import JUDGE_CACHE
from wildreward import storage
from wildreward.judge.cache import JudgeCache
from wildreward.judge.cached import CachedJudge
from wildreward.judge.choose import make_judge
from wildreward.judge.shared import Shared
from wildreward.judge.types import Counting, Judge, RefusalVerdict, TurnText, Verdict
from wildreward.refusals import needs_refusal_question
from wildreward.schema import FEEDBACK
from wildreward.settings.label import LabelSettings

READY_TURNS = 4
"""Turns whose questions are made ahead, for each that may be in flight. Without a bound a new block would make all of
its questions at once, and the answers that come in meanwhile would wait."""

COST = ("attempts", "prompt_tokens", "completion_tokens")
AnyVerdict = TypeVar("AnyVerdict", Verdict, RefusalVerdict)


def cache_directory(settings: LabelSettings) -> str | None:
    """Where the judge's answers are kept: by default beside the output's row checkpoint. None: nowhere."""
    if settings.judge == "lexicon" or settings.judge_cache == "none":
        return None
    return settings.judge_cache or storage.join(settings.output, ".state", JUDGE_CACHE)


class JudgeTurns:
    """Fills in the turns of FEEDBACK rows. Its name is what the Ray dashboard shows.

    `run` names the run on whose account new answers are; `cache` is the directory of the judge cache, or None.
    `shared`: what the judge actors of the run have in common; without it this one has the run to itself.
    """

    def __init__(self, settings: LabelSettings, run: str, cache: str | None, shared: Shared | None = None) -> None:
        self._settings, self._run, self._directory, self._shared = settings, run, cache, shared
        self._judge: Judge | None = None
        self._open_blocks = 0
        self._gate = asyncio.Semaphore(READY_TURNS * settings.judge_concurrency)

    async def __call__(self, block: pa.Table) -> pa.Table:
        """The same rows with levels and evidence. Raises JudgeError when the judge cannot be used at all."""
        if self._judge is None:  # not in __init__: Ray reports a failed constructor as a dead actor, without its cause
            self._judge = self._make_judge()
            self._metrics = JudgeMetrics(self._judge.name)
        rows = block.select(["row_id", "messages", "turns"]).to_pylist()
        self._open_blocks += 1
        try:
            await judge_turns(self._judge, rows, self._settings, self._metrics, self._gate)
        finally:
            self._open_blocks -= 1
            if isinstance(self._judge, Counting):
                self._metrics.counted(self._judge.stats)
                if self._shared is not None:
                    self._shared.report(self._judge.stats)
            if isinstance(self._judge, CachedJudge) and not self._open_blocks:
                await self._judge.flush()  # perhaps the last block: Ray ends the actor when it is done
        return with_turns(block, rows)

    def _make_judge(self) -> Judge:
        judge = make_judge(self._settings, self._shared)
        if self._directory is None:
            return judge
        return CachedJudge(judge, JudgeCache(self._directory), self._settings, self._run)


async def judge_turns(
    judge: Judge,
    rows: Sequence[Mapping[str, Any]],
    settings: LabelSettings,
    metrics: JudgeMetrics,
    gate: asyncio.Semaphore,
) -> None:
    """Judge all turns of all rows, as many at once as pass the gate, in place. The first JudgeError cancels the rest
    and is raised."""

    async def passing(row: Mapping[str, Any], turn: dict[str, Any]) -> None:
        async with gate:
            await _judge_turn(judge, row, turn, settings, metrics)

    tasks = [asyncio.ensure_future(passing(row, turn)) for row in rows for turn in row["turns"] or ()]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _judge_turn(
    judge: Judge, row: Mapping[str, Any], turn: dict[str, Any], settings: LabelSettings, metrics: JudgeMetrics
) -> None:
    text = turn_text(row, turn)
    verdict = await _measured("feedback", judge.feedback(text), metrics)
    turn.update(_evidence(verdict))
    _add_cost(turn, verdict)
    if needs_refusal_question(verdict.level, text.response, settings):
        refusal = await _measured("refusal", judge.refusal(text), metrics)
        turn.update(refusal_verdict=refusal.verdict, refusal_raw=refusal.raw, refusal_error=refusal.error)
        _add_cost(turn, refusal)
    metrics.turn(verdict)


async def _measured(question: str, asking: Awaitable[AnyVerdict], metrics: JudgeMetrics) -> AnyVerdict:
    started = time.monotonic()
    verdict = await asking
    metrics.answer(question, verdict, time.monotonic() - started)
    return verdict


def turn_text(row: Mapping[str, Any], turn: Mapping[str, Any]) -> TurnText:
    """The texts of a turn, from the positions it keeps."""
    messages = row["messages"]
    prompt, response, follow_up = (
        messages[turn[f"{name}_index"]]["content"] for name in ("prompt", "response", "follow_up")
    )
    history = [dict(message) for message in messages[: turn["prompt_index"]]]
    return TurnText(history, prompt, response, follow_up, asker=f"{row['row_id']}/{turn['turn']}")


def with_turns(block: pa.Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The block with the `turns` of these rows, in the schema's types."""
    place, field = FEEDBACK.get_field_index("turns"), FEEDBACK.field("turns")
    turns = pa.array([row["turns"] for row in rows], type=field.type)
    return block.set_column(place, field, turns)


def _evidence(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    names = ("level", "raw", "judge", "prompt_version", "error", "error_detail")
    yield from ((name, getattr(verdict, name)) for name in names)
    yield "level_probs", None if verdict.level_probs is None else list(verdict.level_probs)


def _add_cost(turn: dict[str, Any], verdict: Verdict | RefusalVerdict) -> None:
    """Requests and tokens of an answer, added to those of the turn's other one; `cached`: what of them was saved."""
    spent = {name: getattr(verdict, name) for name in COST}
    turn |= {name: _sum(turn[name], more) for name, more in spent.items()}
    if verdict.cached:
        saved = turn["cached"] or {}
        turn["cached"] = {name: _sum(saved.get(name), more) for name, more in (spent | {"answers": 1}).items()}


def _sum(one: int | None, other: int | None) -> int | None:
    """None stands for a number that nobody counted."""
    return other if one is None else one + (other or 0)
