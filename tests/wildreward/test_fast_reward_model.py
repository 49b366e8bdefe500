"""The model as it is served gives the plain model's scores, and each of them whatever else is in the batch."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints import decoder_checkpoint, tiny_checkpoint
from wildreward.cpu_bert import CpuBert
from wildreward.fast_reward_model import FastRewardModel
from wildreward.reward_model import RewardModel
from wildreward.shared_prefix import common_prefix, shared_runs
from wildreward.template import Encoded

SAME = 1e-6
"""Of one model's scores, in fp32 and bf16, whatever the batch: what is left is the rounding of the last sigmoid."""
SHARED_FP32 = 1e-5
"""Between a prompt read once and read again for each reply."""
SHARED_BF16 = 0.1
PLAIN_FP32 = 5e-5
"""Between this and the plain model; scores of these random models spread over the whole scale."""
LENGTHS = (3, 1, 60, 17, 128, 5, 99, 128, 33, 64)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("fast")
    return {
        "bert": tiny_checkpoint(folder / "bert", "independent"),
        "llama": decoder_checkpoint(folder / "llama", "llama"),
        "qwen2": decoder_checkpoint(folder / "qwen2", "qwen2"),
    }


def texts(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> list[Encoded]:
    rng = random.Random(seed)
    return [Encoded([rng.randrange(1000, 29000) for _ in range(length)]) for length in lengths]


def replies(count: int, prompt: int = 80) -> list[Encoded]:
    (shared,) = texts([prompt])
    return [Encoded(shared.input_ids + reply.input_ids) for reply in texts(range(1, 12 * count, 12), seed=1)]


def scores(model: RewardModel, items: Sequence[Encoded], batch_tokens: int = 8192) -> list[float]:
    return [score.score for score in model.score_encoded(items, batch_tokens)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["bert", "llama", "qwen2"])
def test_a_score_is_its_texts_alone(checkpoints: dict[str, Path], kind: str, dtype: str) -> None:
    model = FastRewardModel.load(checkpoints[kind], dtype=dtype)
    items = texts()
    alone = [scores(model, [item])[0] for item in items]
    for batch_tokens in (16, 150, 8192):
        order = random.Random(batch_tokens).sample(range(len(items)), len(items))
        assert scores(model, [items[i] for i in order], batch_tokens) == pytest.approx(
            [alone[i] for i in order], abs=SAME
        )


@pytest.mark.parametrize("kind", ["bert", "llama", "qwen2"])
def test_scores_equal_the_plain_models(checkpoints: dict[str, Path], kind: str) -> None:
    fast, plain = FastRewardModel.load(checkpoints[kind]), RewardModel.load(checkpoints[kind])
    items = texts()
    expected = scores(plain, items)
    assert max(expected) - min(expected) > 0.5
    assert scores(fast, items) == pytest.approx(expected, abs=PLAIN_FP32)
    assert fast.describe() == plain.describe()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", SHARED_FP32), ("bfloat16", SHARED_BF16)])
def test_replies_to_one_prompt_score_as_they_do_alone(
    checkpoints: dict[str, Path], dtype: str, tolerance: float
) -> None:
    model = FastRewardModel.load(checkpoints["llama"], dtype=dtype)
    items = [*replies(6), *texts([9, 200])]
    alone = [scores(model, [item])[0] for item in items]
    assert scores(model, items) == pytest.approx(alone, abs=tolerance)


def test_replies_to_one_prompt_read_it_once(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = FastRewardModel.load(checkpoints["llama"])
    items = replies(6)
    read: list[int] = []
    embed = torch.nn.functional.embedding

    def counting(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        read.append(ids.numel())
        return embed(ids, *rest)

    monkeypatch.setattr(torch.nn.functional, "embedding", counting)
    scores(model, items)
    assert sum(read) == 80 + sum(len(item.input_ids) - 80 for item in items)


def test_a_prompt_is_never_shared_up_to_the_token_that_the_head_reads() -> None:
    long = list(range(1, 60))
    assert common_prefix([long, [*long, 99]], pad_token_id=0) == 58
    assert common_prefix([[*long, 0, 0], [*long, 0, 0]], pad_token_id=0) == 58
    assert list(shared_runs([long, long], 1000)) == [range(2)]


def test_what_the_fast_path_does_not_compute_is_left_to_the_plain_model(checkpoints: dict[str, Path]) -> None:
    model: Any = RewardModel.load(checkpoints["bert"]).model.backbone
    assert CpuBert.of(model) is not None
    model.config.hidden_act = "relu"
    assert CpuBert.of(model) is None
    assert CpuBert.of(RewardModel.load(checkpoints["llama"]).model.backbone) is None
