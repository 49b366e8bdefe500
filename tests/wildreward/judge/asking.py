"""Questions and settings that the tests of the HTTP judge share."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.judge_server import Server
from wildreward.judge.openai_client import OpenAIJudge
from wildreward.judge.shared import Shared
from wildreward.judge.types import TurnText, Verdict
from wildreward.settings.label import LabelSettings

FOLLOW_UPS = (
    "Useless.",
    "No, it is Canberra, not Sydney.",
    "And of Peru?",
    "Great! Which is the oldest?",
    "Thank you!",
)
"""The lexicon reads them as levels 1, 2, 3, 4, 5."""


def settings(*urls: str, **extra: Any) -> LabelSettings:
    quick = {"judge_retry_base_s": 0.01, "judge_retry_max_s": 0.2, "judge_timeout_s": 5.0, "judge_concurrency": 16}
    return LabelSettings(judge="openai", judge_url=urls, judge_model="model", **(quick | extra))


def turns(count: int) -> list[TurnText]:
    return [TurnText([], f"question {n}", "Sydney.", FOLLOW_UPS[n % len(FOLLOW_UPS)]) for n in range(count)]


def ask(given: LabelSettings, asked: Sequence[TurnText], shared: Shared | None = None) -> list[Verdict]:
    """All at once, to one judge."""
    return ask_counted(given, asked, shared)[0]


def ask_counted(
    given: LabelSettings, asked: Sequence[TurnText], shared: Shared | None = None
) -> tuple[list[Verdict], dict[str, float]]:
    """The same, with the judge's own counters."""

    async def all_at_once() -> tuple[list[Verdict], dict[str, float]]:
        judge = OpenAIJudge(given, shared)
        try:
            return await asyncio.gather(*(judge.feedback(turn) for turn in asked)), dict(judge.stats)
        finally:
            await judge.close()

    return asyncio.run(all_at_once())


def requests(server: Server) -> int:
    """What the server was asked, whatever it answered."""
    return sum(server.stats.outcomes.values())
