"""The model behind the routes: it tokenises, and scores what is waiting in batches bounded by padded tokens.

While one batch runs, everything that arrives waits; the next batch is the item that has waited longest and those that
are nearest to it in length. So a batch is full when there is load and immediate when there is none, padding is small,
nothing starves (each batch takes the oldest), and a new item waits for at most the batch that runs plus the tokens that
were ahead of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from serve.metrics import metrics
from serve.schema import RequestError

if TYPE_CHECKING:
    from wildreward.reward_model import RewardModel, Score
    from wildreward.template import Encoded, InputTemplate, Message

T = TypeVar("T")
R = TypeVar("R")


class Waiting(NamedTuple):
    item: "Encoded"
    answer: "asyncio.Future[Score]"
    since: float


class Engine:
    """One model, one thread that runs it and one that tokenises; used from a single event loop."""

    def __init__(self, model: "RewardModel", batch_tokens: int, batch_wait_s: float = 0.0) -> None:
        self.model, self.batch_tokens, self.batch_wait_s = model, batch_tokens, batch_wait_s
        self.batches = self.scored = 0
        self._waiting: list[Waiting] = []
        self._work: asyncio.Task[None] | None = None
        # A tokenizer keeps its truncation settings inside and must not be used by two threads.
        self._tokenizing = ThreadPoolExecutor(1, "tokenize")
        self._running = ThreadPoolExecutor(1, "model")

    async def encode(self, encode: "Callable[[T], Encoded]", values: Sequence[T]) -> "list[Encoded]":
        """`[encode(value) for value in values]` off the event loop."""
        return await in_thread(self._tokenizing, lambda: [encode(value) for value in values])

    async def score(self, items: "Sequence[Encoded]") -> "list[Score]":
        """One Score an item, in order. Cancelling the call takes its items out of the queue."""
        loop = asyncio.get_running_loop()
        mine = [Waiting(item, loop.create_future(), loop.time()) for item in items]
        self._waiting.extend(mine)
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._run())
        return await asyncio.gather(*(waiting.answer for waiting in mine))

    async def _run(self) -> None:
        """Batch after batch until nothing waits."""
        if self.batch_wait_s:
            await asyncio.sleep(self.batch_wait_s)
        while batch := self._take():
            forward = partial(self._forward, [waiting.item for waiting in batch])
            running = asyncio.ensure_future(in_thread(self._running, forward))
            started = asyncio.get_running_loop().time()
            await asyncio.wait([running])
            if running.exception() is None:
                self._observe(batch, started)
            self._answer(batch, running)

    def _take(self) -> list[Waiting]:
        """The next batch; what was cancelled meanwhile is dropped."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]
        chosen = choose([len(waiting.item.input_ids) for waiting in self._waiting], self.batch_tokens)
        batch = [self._waiting[i] for i in chosen]
        taken = set(chosen)
        self._waiting = [waiting for i, waiting in enumerate(self._waiting) if i not in taken]
        return batch

    def _observe(self, batch: Sequence[Waiting], started: float) -> None:
        tokens = sum(len(waiting.item.input_ids) for waiting in batch)
        waited_s = started - min(waiting.since for waiting in batch)
        metrics().batch(len(batch), tokens, waited_s, asyncio.get_running_loop().time() - started)

    def _answer(self, batch: Sequence[Waiting], running: "asyncio.Future[list[Score]]") -> None:
        error = running.exception()
        self.batches, self.scored = self.batches + 1, self.scored + len(batch)
        for position, waiting in enumerate(batch):
            if waiting.answer.done():
                continue
            if error is None:
                waiting.answer.set_result(running.result()[position])
            else:
                waiting.answer.set_exception(error)

    def _forward(self, items: "list[Encoded]") -> "list[Score]":
        """One forward pass; a batch that does not fit into memory is halved until it does."""
        import torch

        try:
            return self.model.score_encoded(items, self.batch_tokens)
        except torch.OutOfMemoryError:
            if len(items) == 1:
                raise RequestError(503, "out_of_memory", "this text does not fit into the model's memory") from None
        torch.cuda.empty_cache()
        half = len(items) // 2
        return self._forward(items[:half]) + self._forward(items[half:])

    def close(self) -> None:
        self._tokenizing.shutdown(wait=False, cancel_futures=True)
        self._running.shutdown(wait=False, cancel_futures=True)


def choose(lengths: Sequence[int], batch_tokens: int) -> list[int]:
    """Positions of the next batch: the first, and the nearest to it in length while they fit when padded.

    >>> choose([10, 500, 12, 9, 11], batch_tokens=48)
    [0, 3, 4, 2]
    >>> choose([600, 8], batch_tokens=512)  # one that is longer than a batch goes alone
    [0]
    """
    if not lengths:
        return []
    chosen, width = [0], lengths[0]
    for position in sorted(range(1, len(lengths)), key=lambda i: abs(lengths[i] - lengths[0])):
        width = max(width, lengths[position])
        if width * (len(chosen) + 1) > batch_tokens:
            break
        chosen.append(position)
    return chosen


async def in_thread(pool: ThreadPoolExecutor, call: Callable[[], R]) -> R:
    return await asyncio.get_running_loop().run_in_executor(pool, call)


def text_encoder(model: "RewardModel") -> "Callable[[str], Encoded]":
    """How a text that already went through a template becomes token ids (see RewardRequest)."""
    template: InputTemplate = model.template
    return lambda text: template.encode_text(text, model.tokenizer)


def conversation_encoder(model: "RewardModel") -> "Callable[[Sequence[Message]], Encoded]":
    return model.encode
