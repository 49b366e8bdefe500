"""The engine: batches bounded by tokens, nothing starves, a score depends on its item alone."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from serve.engine import Engine, choose
from serve.schema import RequestError
from tests.serve.conftest import SlowModel
from wildreward.reward_model import RewardModel
from wildreward.template import Encoded

FP32_TOLERANCE = 1e-5


def conversation(words: int, seed: int = 0) -> list[dict[str, str]]:
    rng = random.Random(f"{words} {seed}")
    reply = " ".join(rng.choice(["yes", "no", "maybe", "the", "list", "wrong", "thanks"]) for _ in range(words))
    return [{"role": "user", "content": "question"}, {"role": "assistant", "content": reply}]


def test_every_batch_takes_the_oldest_and_stays_within_its_tokens() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(1, 300) for _ in range(200)]
    while lengths:
        chosen = choose(lengths, 512)
        assert chosen[0] == 0
        assert len(chosen) == 1 or max(lengths[i] for i in chosen) * len(chosen) <= 512
        lengths = [length for i, length in enumerate(lengths) if i not in set(chosen)]


@pytest.mark.parametrize("batch_tokens", [16, 256, 8192])
def test_a_score_does_not_depend_on_batch_mates_or_order(model: RewardModel, batch_tokens: int) -> None:
    items = [model.encode(conversation(words)) for words in (1, 90, 3, 40, 40, 7, 200, 2)]
    alone = [model.score_encoded([item])[0].score for item in items]
    order = [5, 2, 7, 0, 1, 6, 4, 3]

    async def together() -> list[float]:
        engine = Engine(model, batch_tokens)
        return [score.score for score in await engine.score([items[i] for i in order])]

    scores = asyncio.run(together())
    assert scores == pytest.approx([alone[i] for i in order], abs=FP32_TOLERANCE)


def test_requests_that_arrive_while_a_batch_runs_share_the_next_one(checkpoint: Path) -> None:
    model = SlowModel.of(checkpoint)

    async def scenario() -> Engine:
        engine = Engine(model, 8192)
        first = asyncio.ensure_future(engine.score([model.encode(conversation(5))]))
        await asyncio.to_thread(model.running.wait)
        others = [asyncio.ensure_future(engine.score([model.encode(conversation(5, i))])) for i in range(6)]
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(first, *others)
        return engine

    engine = asyncio.run(scenario())
    assert (engine.batches, engine.scored) == (2, 7)


def test_a_cancelled_request_leaves_the_queue(checkpoint: Path) -> None:
    model = SlowModel.of(checkpoint)

    async def scenario() -> Engine:
        engine = Engine(model, 8192)
        first = asyncio.ensure_future(engine.score([model.encode(conversation(5))]))
        await asyncio.to_thread(model.running.wait)
        cancelled = asyncio.ensure_future(engine.score([model.encode(conversation(5, i)) for i in range(3)]))
        await asyncio.sleep(0)
        cancelled.cancel()
        model.go.set()
        await first
        await engine.score([model.encode(conversation(6))])
        return engine

    assert asyncio.run(scenario()).scored == 2


class SmallMemory(RewardModel):
    """Runs out of memory beyond two items."""

    def score_encoded(self, items: Any, batch_tokens: int = 8192) -> Any:
        if len(items) > 2 or len(items[0].input_ids) > 100:
            raise torch.OutOfMemoryError("no memory")
        return super().score_encoded(items, batch_tokens)


def test_a_batch_beyond_memory_is_halved_until_it_fits(checkpoint: Path, model: RewardModel) -> None:
    small = SmallMemory.load(checkpoint)
    items = [small.encode(conversation(words)) for words in (1, 2, 3, 4, 5, 6, 7)]
    scores = asyncio.run(Engine(small, 8192).score(items))
    assert [s.score for s in scores] == pytest.approx([s.score for s in model.score_encoded(items)], abs=FP32_TOLERANCE)


def test_an_item_beyond_memory_is_refused_and_the_next_one_scored(checkpoint: Path) -> None:
    small = SmallMemory.load(checkpoint)

    async def scenario() -> None:
        engine = Engine(small, 8192)
        with pytest.raises(RequestError, match="out_of_memory"):
            await engine.score([Encoded([101] * 120)])
        assert len(await engine.score([small.encode(conversation(2))])) == 1

    asyncio.run(scenario())
