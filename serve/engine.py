"""The model behind the routes: it tokenises, and scores what waits in batches bounded by tokens, fair to requests.

While batches run, everything that arrives waits (fair_queue.py says for whom); then the next batch is what fits. So a
batch is full when there is load and immediate when there is none. What a new text waits for, in forward passes: the
batches that run, and those that hold at most two units of each request that waits, whatever these hold besides.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from serve.fair_queue import FairQueue
from serve.metrics import metrics
from serve.schema import RequestError
from wildreward.errors import CheckpointError
from wildreward.settings.serve import ServeSettings

if TYPE_CHECKING:
    from wildreward.reward_model import RewardModel, Score
    from wildreward.template import Encoded, InputTemplate, Message

T = TypeVar("T")
R = TypeVar("R")


class ScoringEngine(Protocol):
    """What scores for the routes. Used from a single event loop."""

    async def encode(self, encode: "Callable[[T], Encoded]", values: Sequence[T]) -> "list[Encoded]":
        """`[encode(value) for value in values]` off the event loop."""

    async def score(self, items: "Sequence[Encoded]") -> "list[Score]":
        """One Score an item, in order. Cancelling the call gives back what it held. Raises RequestError."""

    def check_health(self) -> None:
        """Raises where this engine can score no more; Serve then replaces the replica."""

    def close(self) -> None:
        """Let go of threads and processes."""


class Unit(NamedTuple):
    """What is scored together: one text, or replies to one prompt."""

    items: "Sequence[Encoded]"
    answer: "asyncio.Future[list[Score | RequestError]]"
    since: float


class Engine:
    """One model in this process, and threads that run it: `parallel` batches at once."""

    def __init__(
        self, model: "RewardModel", batch_tokens: int, batch_wait_s: float = 0.0, parallel: int = 1, threads: int = 0
    ) -> None:
        """`threads` of torch for each batch; 0 leaves torch's own number."""
        self.model, self.batch_tokens, self.batch_wait_s, self.parallel = model, batch_tokens, batch_wait_s, parallel
        self.batches = self.scored = 0
        self._waiting: FairQueue[Unit] = FairQueue(lambda unit: unit.answer.done())
        self._workers: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._tokenizing = tokenizing_thread()
        self._running = ThreadPoolExecutor(parallel, "model", *threads_of(threads))

    async def encode(self, encode: "Callable[[T], Encoded]", values: Sequence[T]) -> "list[Encoded]":
        return await in_thread(self._tokenizing, lambda: [encode(value) for value in values])

    async def score(self, items: "Sequence[Encoded]") -> "list[Score]":
        loop = asyncio.get_running_loop()
        mine = [Unit(group, loop.create_future(), loop.time()) for group in self._grouped(items)]
        self._waiting.add((sum(len(item.input_ids) for item in unit.items), unit) for unit in mine)
        self._start_worker()
        answers = await asyncio.gather(*(unit.answer for unit in mine))
        return scores_of([answer for unit in answers for answer in unit])

    def _grouped(self, items: "Sequence[Encoded]") -> "list[Sequence[Encoded]]":
        if not self.model.shares_prompts:
            return [[item] for item in items]
        from wildreward.shared_prefix import shared_runs

        shared = shared_runs([item.input_ids for item in items], self.batch_tokens)
        return [items[run.start : run.stop] for run in shared]

    async def _work(self) -> None:
        """Batch after batch until nothing waits."""
        try:
            if self.batch_wait_s:
                await asyncio.sleep(self.batch_wait_s)
            while batch := self._waiting.take(self.batch_tokens, takers=self.parallel - self._busy):
                self._start_worker()  # for what is left
                await self._run(batch)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._workers.discard(task)

    def _start_worker(self) -> None:
        if len(self._waiting) and len(self._workers) < self.parallel:
            self._workers.add(asyncio.get_running_loop().create_task(self._work()))

    async def _run(self, batch: "Sequence[Unit]") -> None:
        items = [item for unit in batch for item in unit.items]
        started = asyncio.get_running_loop().time()
        running = asyncio.ensure_future(in_thread(self._running, partial(self._forward, items)))
        self._busy += 1
        try:
            await asyncio.wait([running])
        finally:
            self._busy -= 1
        if running.exception() is None:
            tokens, oldest = sum(len(item.input_ids) for item in items), min(unit.since for unit in batch)
            took_s = asyncio.get_running_loop().time() - started
            metrics().batch(len(items), tokens, started - oldest, took_s)
        self._answer(batch, running)

    def _answer(self, batch: Sequence[Unit], running: "asyncio.Future[list[Score | RequestError]]") -> None:
        error = running.exception()
        self.batches, self.scored = self.batches + 1, self.scored + sum(len(unit.items) for unit in batch)
        start = 0
        for unit in batch:
            end = start + len(unit.items)
            if not unit.answer.done():
                if error is None:
                    unit.answer.set_result(running.result()[start:end])
                else:
                    unit.answer.set_exception(error)
            start = end

    def _forward(self, items: "Sequence[Encoded]") -> "list[Score | RequestError]":
        """One forward pass; a batch that does not fit into memory, or in which a text gets no number, is halved."""
        import torch

        try:
            return list(self.model.score_encoded(items, self.batch_tokens))
        except (RuntimeError, CheckpointError) as error:
            refusal = refusal_of_failure(error)
            if refusal is None:
                raise
        if len(items) == 1:
            return [refusal]
        torch.cuda.empty_cache()
        half = len(items) // 2
        return [*self._forward(items[:half]), *self._forward(items[half:])]

    def check_health(self) -> None:
        """A thread pool cannot be gone while the process lives."""

    def close(self) -> None:
        self._tokenizing.shutdown(wait=False, cancel_futures=True)
        self._running.shutdown(wait=False, cancel_futures=True)


def refusal_of_failure(error: Exception) -> RequestError | None:
    """What one text is told when the model fails on it alone; None for failures that are not the text's."""
    import torch

    if isinstance(error, CheckpointError):
        return RequestError(500, "not_a_number", "the model gives no finite score for this text")
    # The CPU's allocator has no error class of its own.
    if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return RequestError(503, "out_of_memory", "this text does not fit into the model's memory")
    return None


def scores_of(answers: "Sequence[Score | RequestError]") -> "list[Score]":
    """Raises the first refusal: a request is answered in whole or not at all."""
    scores = []
    for answer in answers:
        if isinstance(answer, RequestError):
            raise answer
        scores.append(answer)
    return scores


def engine_of(model: "RewardModel", settings: ServeSettings) -> ScoringEngine:
    """The engine that the settings name, for what `load_model` gave. Raises CheckpointError."""
    if settings.engine == "vllm":
        from serve.vllm_engine import VllmEngine

        return VllmEngine(model, settings)
    batches = settings.batches_per_replica
    threads = max(1, settings.threads_per_replica // batches)
    return Engine(model, settings.batch_tokens, settings.batch_wait_s, batches, threads)


def threads_of(threads: int) -> "tuple[Callable[[int], None], tuple[int]] | tuple[()]":
    """A pool's initializer that gives each of its threads so many of torch's."""
    import torch

    return (torch.set_num_threads, (threads,)) if threads else ()


def tokenizing_thread() -> ThreadPoolExecutor:
    """One: a tokenizer keeps its truncation settings inside and must not be used by two threads."""
    return ThreadPoolExecutor(1, "tokenize")


async def in_thread(pool: ThreadPoolExecutor, call: Callable[[], R]) -> R:
    return await asyncio.get_running_loop().run_in_executor(pool, call)


def text_encoder(model: "RewardModel") -> "Callable[[str], Encoded]":
    """How a text that already went through a template becomes token ids (see RewardRequest)."""
    template: InputTemplate = model.template
    return lambda text: template.encode_text(text, model.tokenizer)


def conversation_encoder(model: "RewardModel") -> "Callable[[Sequence[Message]], Encoded]":
    return model.encode
