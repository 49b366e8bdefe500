"""A judge that asks nothing twice: before the judge the cache, after it the answer goes into the cache.

Only answers with a value are kept; a failure is asked again the next time. An answer is on the account of the turn it
was asked for. Where that turn gets it back (the run was killed before its block was written) it counts as asked by
the run, which has paid for it; wherever else it turns up, it was saved, and the verdict says `cached`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from wildreward.judge import prompts
from wildreward.judge.answers import Answer, Cost
from wildreward.judge.cache import CachedAnswer, JudgeCache, digest
from wildreward.judge.gather import Gather
from wildreward.judge.types import Counting, Judge, RefusalVerdict, TurnText, Verdict
from wildreward.settings.label import LabelSettings

Given = TypeVar("Given", Verdict, RefusalVerdict)

FLUSH_S = 2.0
"""An answer waits at most this long to be written: what a kill -9 loses."""

FLUSH_ANSWERS = 4096
"""So many answers are written at once, even sooner."""

LOOK_UP_AT_ONCE = 1024

ENGINE_SPEED = frozenset(
    {
        "async_scheduling",
        "block_size",
        "cpu_offload_gb",
        "data_parallel_size",
        "disable_log_stats",
        "distributed_executor_backend",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "pipeline_parallel_size",
        "swap_space",
        "tensor_parallel_size",
    }
)
"""Engine arguments that make answers come faster, not differently. With any other one changed, all is asked again."""


class CachedJudge:
    """`Judge` in front of another one. All its coroutines must run in one event loop."""

    def __init__(self, judge: Judge, cache: JudgeCache, settings: LabelSettings, run: str) -> None:
        self.name, self.prompt_version = judge.name, judge.prompt_version
        self._judge, self._cache, self._run = judge, cache, run
        self._history_turns = settings.judge_history_turns
        self._depends_on = [depends_on(settings), judge.prompt_version]
        self._lookup = Gather(self._look_up, LOOK_UP_AT_ONCE)
        self._asking: dict[bytes, asyncio.Event] = {}
        self._full = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None

    @property
    def stats(self) -> Mapping[str, float]:
        """Counters of the judge behind the cache, where it keeps any, and cache_files_ignored."""
        behind = self._judge.stats if isinstance(self._judge, Counting) else {}
        return {**behind, "cache_files_ignored": len(self._cache.ignored)}

    async def feedback(self, turn: TurnText) -> Verdict:
        shown = prompts.feedback_messages(turn, self._history_turns)
        key = digest([*self._depends_on, "feedback", shown])

        def keep(verdict: Verdict) -> CachedAnswer | None:
            return self._to_keep("feedback", verdict.level, verdict.level_probs, verdict, turn)

        found = await self._find_or_ask(key, lambda: self._judge.feedback(turn), keep)
        if isinstance(found, Verdict):
            return found
        verdict = _answer(found).verdict(found.judge, found.prompt_version)
        return replace(verdict, cached=found.asker != self._asker(turn))

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        shown = prompts.refusal_messages(turn, self._history_turns)
        key = digest([*self._depends_on, "refusal", shown])

        def keep(verdict: RefusalVerdict) -> CachedAnswer | None:
            return self._to_keep("refusal", verdict.verdict, None, verdict, turn)

        found = await self._find_or_ask(key, lambda: self._judge.refusal(turn), keep)
        if isinstance(found, RefusalVerdict):
            return found
        return replace(_answer(found).refusal_verdict(), cached=found.asker != self._asker(turn))

    async def flush(self) -> None:
        """Return when every answer is written. Raises DataError when the cache cannot be written."""
        while self._flusher is not None and (self._cache.pending or not self._flusher.done()):
            self._full.set()
            await self._flusher

    async def close(self) -> None:
        await self.flush()
        await self._judge.close()

    async def _find_or_ask(
        self, key: bytes, ask: Callable[[], Awaitable[Given]], keep: Callable[[Given], CachedAnswer | None]
    ) -> CachedAnswer | Given:
        """The kept answer, or a new one from the judge. Of equal questions at the same time one is asked."""
        while (other := self._asking.get(key)) is not None:
            await other.wait()
        self._asking[key] = asyncio.Event()
        try:
            found = await self._lookup.ask(key)
            if found is not None:
                return found
            given = await ask()
            answer = keep(given)
            if answer is not None:
                self._put(key, answer)
            return given
        finally:
            self._asking.pop(key).set()

    def _look_up(self, keys: Sequence[bytes]) -> list[CachedAnswer | None]:
        found = self._cache.get_many(keys)
        return [found.get(key) for key in keys]

    def _to_keep(
        self,
        question: str,
        value: int | None,
        probs: tuple[float, ...] | None,
        verdict: Verdict | RefusalVerdict,
        turn: TurnText,
    ) -> CachedAnswer | None:
        if value is None:
            return None
        return CachedAnswer(
            question=question,
            value=value,
            probs=probs,
            raw=verdict.raw,
            judge=self.name,
            prompt_version=self.prompt_version,
            attempts=verdict.attempts,
            prompt_tokens=verdict.prompt_tokens,
            completion_tokens=verdict.completion_tokens,
            asker=self._asker(turn),
        )

    def _asker(self, turn: TurnText) -> bytes:
        return digest([self._run, turn.asker])

    def _put(self, key: bytes, answer: CachedAnswer) -> None:
        self._cache.put(key, answer)
        if self._cache.pending >= FLUSH_ANSWERS:
            self._full.set()
        if self._flusher is None or self._flusher.done():
            if self._flusher is not None:
                self._flusher.result()  # raises what the last one met
            self._flusher = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        while self._cache.pending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), FLUSH_S)
            self._full.clear()
            await asyncio.to_thread(self._cache.flush)


def depends_on(settings: LabelSettings) -> dict[str, object]:
    """What an answer depends on besides the question: another value asks again."""
    names = ["judge", "judge_model", "judge_temperature", "judge_max_tokens", "judge_extra_body", "judge_logprobs"]
    found: dict[str, object] = {name: getattr(settings, name) for name in names}
    if settings.judge == "vllm":
        engine = {name: value for name, value in settings.judge_engine.items() if name not in ENGINE_SPEED}
        found |= {"judge_constrain": settings.judge_constrain, "judge_engine": engine}
    return found


def _answer(found: CachedAnswer) -> Answer:
    cost = Cost(found.attempts, found.prompt_tokens, found.completion_tokens)
    return Answer(found.value, found.probs, found.raw, cost)
