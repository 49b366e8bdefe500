"""Coroutines that wait are answered together, in order, and all hear of a failure."""

import asyncio
from collections.abc import Sequence

import pytest

from wildreward.judge.gather import Gather


def test_questions_of_many_coroutines_come_in_few_calls_and_each_gets_its_own_answer() -> None:
    calls: list[list[int]] = []

    def double(numbers: Sequence[int]) -> list[int]:
        calls.append(list(numbers))
        return [2 * number for number in numbers]

    async def ask() -> list[int]:
        gather = Gather(double, most_at_once=4)
        return list(await asyncio.gather(*(gather.ask(number) for number in range(10))))

    assert asyncio.run(ask()) == list(range(0, 20, 2))
    assert calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_failed_call_fails_those_it_was_for_and_the_next_goes_on() -> None:
    def half(numbers: Sequence[int]) -> list[int]:
        if 0 in numbers:
            raise OSError("disk")
        return [number // 2 for number in numbers]

    async def ask() -> list[int | BaseException]:
        gather = Gather(half, most_at_once=2)
        return list(await asyncio.gather(*(gather.ask(n) for n in (0, 2, 4, 6)), return_exceptions=True))

    first, second, *rest = asyncio.run(ask())
    assert [str(first), str(second), *rest] == ["disk", "disk", 2, 3]


def test_an_asker_that_was_cancelled_does_not_disturb_the_others() -> None:
    async def ask() -> int:
        gather: Gather[int, int] = Gather(lambda numbers: numbers, most_at_once=8)
        gone, stays = asyncio.create_task(gather.ask(1)), asyncio.create_task(gather.ask(2))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    assert asyncio.run(ask()) == 2
