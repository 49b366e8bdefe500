"""Many coroutines, one blocking call: what waits is answered together, in a thread.

gather = Gather(blocking_function_of_a_list, most_at_once=64)
answer = await gather.ask(question)
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Gather(Generic[Question, Answer]):
    """Batches the questions of coroutines. All of them must run in one event loop."""

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]], most_at_once: int) -> None:
        self._answer = answer
        self._most = most_at_once
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer to this question. Raises what the blocking call raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Batch after batch until nothing waits. What comes in meanwhile makes the next one."""
        await asyncio.sleep(0)  # the other coroutines of a block are about to ask
        while self._waiting:
            batch = self._waiting[: self._most]
            del self._waiting[: len(batch)]
            call = asyncio.to_thread(self._answer, [question for question, _ in batch])
            [answers] = await asyncio.gather(call, return_exceptions=True)
            _hand_out(answers, [future for _, future in batch])


def _hand_out(answers: Sequence[Answer] | BaseException, futures: "Sequence[asyncio.Future[Answer]]") -> None:
    """Each answer, or the failure of them all, to those that still wait for it."""
    for place, future in enumerate(futures):
        if future.done():
            continue  # its asker is gone
        if isinstance(answers, BaseException):
            future.set_exception(answers)
        else:
            future.set_result(answers[place])
