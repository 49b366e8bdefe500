"""The engine: fair turns, cancellation, memory, and scores that depend on their item alone."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from serve.engine import Engine
from serve.schema import RequestError
from serve.vllm_engine import reward_model_without_weights
from tests.checkpoints import tiny_checkpoint
from tests.serve.conftest import SlowModel
from wildreward.errors import CheckpointError, UsageError
from wildreward.ordinal import HeadKind
from wildreward.reward_model import RewardModel
from wildreward.settings.serve import ServeSettings
from wildreward.template import Encoded

FP32_TOLERANCE = 5e-5
"""Against the plain model asked directly: other kernels, and random weights that are large on purpose."""


def conversation(words: int, seed: int = 0) -> list[dict[str, str]]:
    rng = random.Random(f"{words} {seed}")
    reply = " ".join(rng.choice(["yes", "no", "maybe", "the", "list", "wrong", "thanks"]) for _ in range(words))
    return [{"role": "user", "content": "question"}, {"role": "assistant", "content": reply}]


@pytest.mark.parametrize(("batch_tokens", "parallel"), [(16, 1), (256, 3), (8192, 2)])
def test_a_score_does_not_depend_on_batch_mates_or_order(model: RewardModel, batch_tokens: int, parallel: int) -> None:
    items = [model.encode(conversation(words)) for words in (1, 90, 3, 40, 40, 7, 200, 2)]
    alone = [model.score_encoded([item])[0].score for item in items]
    order = [5, 2, 7, 0, 1, 6, 4, 3]

    async def together() -> list[float]:
        engine = Engine(model, batch_tokens, parallel=parallel, threads=1)
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


class RecordingModel(SlowModel):
    """Writes down what each forward pass held."""

    passes: list[list[int]]

    def score_encoded(self, items: Any, batch_tokens: int = 8192) -> Any:
        self.passes.append([len(item.input_ids) for item in items])
        return super().score_encoded(items, batch_tokens)


def test_single_texts_pass_a_256_item_request_in_the_next_batch(checkpoint: Path) -> None:
    """The bound of the module, with the real engine: the batch that runs, then one."""
    model = RecordingModel.of(checkpoint)
    model.passes = []

    async def scenario() -> None:
        engine = Engine(model, batch_tokens=128)
        bulk = asyncio.ensure_future(engine.score([Encoded([101] * 16)] * 256))
        await asyncio.to_thread(model.running.wait)
        singles = [asyncio.ensure_future(engine.score([Encoded([101] * (17 + i))])) for i in range(3)]
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(*singles)
        assert not bulk.done()
        await bulk

    asyncio.run(scenario())
    assert model.passes[0] == [16] * 8
    assert sorted(model.passes[1] + model.passes[2])[-3:] == [17, 18, 19]
    assert {17, 18, 19} <= set(model.passes[1])
    assert sum(map(len, model.passes)) == 259


def test_idle_threads_share_one_request(checkpoint: Path) -> None:
    model = RecordingModel.of(checkpoint)
    model.passes = []
    model.go.set()
    asyncio.run(Engine(model, 8192, parallel=2).score([Encoded([101] * 10)] * 8))
    assert [len(lengths) for lengths in model.passes] == [4, 4]


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
    """Runs out of memory beyond 60 tokens."""

    error: Exception = torch.OutOfMemoryError("no memory")
    passes: list[int]

    def score_encoded(self, items: Any, batch_tokens: int = 8192) -> Any:
        tokens = sum(len(item.input_ids) for item in items)
        self.passes.append(tokens)
        if tokens > 60:
            raise self.error
        return super().score_encoded(items, batch_tokens)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_a_batch_beyond_memory_is_halved_until_it_fits(checkpoint: Path, model: RewardModel, error: Exception) -> None:
    small = SmallMemory.load(checkpoint)
    small.error, small.passes = error, []
    items = [small.encode(conversation(words)) for words in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
    scores = asyncio.run(Engine(small, 8192).score(items))
    assert small.passes[0] > 60  # it was tried as one batch
    assert len(small.passes) > 2
    assert [s.score for s in scores] == pytest.approx([s.score for s in model.score_encoded(items)], abs=FP32_TOLERANCE)


def test_an_item_beyond_memory_is_refused_alone_and_its_batch_mates_are_scored(checkpoint: Path) -> None:
    small = SmallMemory.load(checkpoint)
    small.passes = []

    async def scenario() -> list[Any]:
        engine = Engine(small, 8192)
        requests = [Encoded([101] * 120), small.encode(conversation(2)), small.encode(conversation(3))]
        return await asyncio.gather(*(engine.score([item]) for item in requests), return_exceptions=True)

    refused, *scored = asyncio.run(scenario())
    assert small.passes[0] > 120  # all three were one batch
    assert isinstance(refused, RequestError)
    assert (refused.status, refused.code) == (503, "out_of_memory")
    assert [len(scores) for scores in scored] == [1, 1]


class Poisoned(RewardModel):
    """One token makes the scores of its batch not numbers, as an overflow in half precision can."""

    def score_encoded(self, items: Any, batch_tokens: int = 8192) -> Any:
        if any(666 in item.input_ids for item in items):
            raise CheckpointError("the model gives scores that are not numbers")
        return super().score_encoded(items, batch_tokens)


def test_a_text_without_a_finite_score_fails_alone(checkpoint: Path) -> None:
    model = Poisoned.load(checkpoint)

    async def scenario() -> list[Any]:
        engine = Engine(model, 8192)
        requests = [Encoded([101, 5, 102]), Encoded([101, 666, 102]), Encoded([101, 7, 102])]
        return await asyncio.gather(*(engine.score([item]) for item in requests), return_exceptions=True)

    first, poisoned, last = asyncio.run(scenario())
    assert (len(first), len(last)) == (1, 1)
    assert isinstance(poisoned, RequestError)
    assert poisoned.code == "not_a_number"


def test_any_other_failure_of_the_model_is_raised_to_all_of_the_batch(checkpoint: Path) -> None:
    small = SmallMemory.load(checkpoint)
    small.error, small.passes = RuntimeError("a bug"), []
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(Engine(small, 8192).score([Encoded([101] * 120)]))


@pytest.mark.parametrize("head", ["coral", "independent"])
def test_what_stands_beside_vllm_knows_the_checkpoint_without_its_weights(tmp_path: Path, head: HeadKind) -> None:
    checkpoint = tiny_checkpoint(tmp_path, head)
    loaded = RewardModel.load(checkpoint)
    beside = reward_model_without_weights(ServeSettings(checkpoint=str(checkpoint), engine="vllm"))
    assert beside.describe() == loaded.describe()
    items = [beside.encode(conversation(words)) for words in (3, 30)]
    with torch.inference_mode():
        raw = loaded.raw_logits([item.input_ids for item in items])
    ours, theirs = beside.scores_of(raw, items), loaded.score_encoded(items)
    assert [score.score for score in ours] == pytest.approx([score.score for score in theirs], abs=1e-5)


def test_options_of_vllm_are_refused_elsewhere() -> None:
    with pytest.raises(UsageError, match=r"engine_options: found \['max_num_seqs'\] with engine transformers"):
        ServeSettings.parse({"checkpoint": "x", "engine_options": {"max_num_seqs": 4}})
