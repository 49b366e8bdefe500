"""The engine at every ZeRO stage: gradient norm, clipping, what is not a number, the same start and the same end."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train import engines
from train import engine as deepspeed_engine
from wildreward.errors import TrainingError
from wildreward.ordinal import frequency_cutpoints
from wildreward.reward_model import new_model
from wildreward.settings.train import TrainSettings

STAGES = (0, 1, 2, 3)
EVERYWHERE = [(stage, dtype) for dtype in ("float32", "bfloat16") for stage in STAGES]

pytestmark = pytest.mark.usefixtures("process_group")


@pytest.fixture(scope="module")
def values(make_backbone: Callable[..., Path]) -> dict[str, Any]:
    return {"backbone": str(make_backbone()), "max_tokens": 64, "lr": 1e-3, "weight_decay": 0.0}


@pytest.mark.parametrize(("stage", "dtype"), EVERYWHERE)
def test_the_gradient_norm_is_the_one_computed_by_hand(values: dict[str, Any], stage: int, dtype: str) -> None:
    settings = TrainSettings(**values, zero_stage=stage, dtype=dtype)
    torch.manual_seed(settings.seed)
    plain, _ = new_model(settings.backbone, "coral", dtype=dtype, cutpoints=frequency_cutpoints(engines.LABELS, 4))
    engines.losses(plain.to(getattr(torch, dtype)), settings).mean().backward()
    by_hand = torch.cat([p.grad.float().flatten() for p in plain.parameters() if p.grad is not None]).norm().item()
    _, engine = engines.start(settings)
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    assert by_hand > 0
    assert engines.step(engine, settings) == pytest.approx(by_hand, rel=tolerance)


@pytest.mark.parametrize(("stage", "dtype"), EVERYWHERE)
def test_gradients_are_clipped(values: dict[str, Any], stage: int, dtype: str) -> None:
    """Adam divides by the gradient's own size, unless that is far below its epsilon of 1e-8."""
    moved = {}
    for limit in (1.0, 1e-10):
        settings = TrainSettings(**values, zero_stage=stage, dtype=dtype, max_grad_norm=limit)
        _, engine = engines.start(settings)
        before = deepspeed_engine.full_state(engine, keep=True)
        engines.step(engine, settings)
        after = deepspeed_engine.full_state(engine, keep=True)
        moved[limit] = sum((after[name] - before[name]).float().square().sum().item() for name in before) ** 0.5
    assert moved[1.0] > 20 * settings.lr
    assert moved[1e-10] < settings.lr / 20


@pytest.mark.parametrize(("stage", "dtype"), EVERYWHERE)
def test_a_gradient_that_is_not_a_number_never_reaches_the_weights(
    values: dict[str, Any], stage: int, dtype: str
) -> None:
    settings = TrainSettings(**values, zero_stage=stage, dtype=dtype)
    _, engine = engines.start(settings)
    before = deepspeed_engine.full_state(engine, keep=True)
    loss = engines.losses(engine, settings).mean()
    engine.backward(loss + torch.sqrt(loss * 0), scale_wrt_gas=False)  # finite, with a gradient of infinity times 0
    with pytest.raises(TrainingError, match=r"the gradient norm is (nan|inf)"):
        deepspeed_engine.step(engine)
    after = deepspeed_engine.full_state(engine, keep=True)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_weights_that_are_not_numbers_are_not_handed_out(values: dict[str, Any]) -> None:
    model, engine = engines.start(TrainSettings(**values, zero_stage=0))
    with torch.no_grad():
        model.cutpoints.first.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"weights are not numbers \(cutpoints.first\)"):
        deepspeed_engine.full_state(engine, keep=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shards_start_from_the_weights_of_the_whole_model(values: dict[str, Any], dtype: str) -> None:
    """The fresh head too, which is random."""
    whole, sharded = (
        deepspeed_engine.full_state(engines.start(TrainSettings(**values, zero_stage=stage, dtype=dtype))[1], keep=True)
        for stage in (0, 3)
    )
    assert whole.keys() == sharded.keys()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


@pytest.mark.parametrize("stage", [0, 3])
def test_matrices_decay_and_biases_norms_head_and_cutpoints_do_not(values: dict[str, Any], stage: int) -> None:
    model, _ = engines.start(TrainSettings.parse({**values, "zero_stage": stage, "weight_decay": 0.1}))
    groups = deepspeed_engine.parameter_groups(model, TrainSettings.parse({**values, "weight_decay": 0.1}))
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        small = name.endswith("bias") or "LayerNorm" in name or name.startswith(("backbone.classifier", "cutpoints"))
        assert (id(parameter) in decayed) is not small, name


def test_two_ranks_export_what_one_rank_trains(values: dict[str, Any], tmp_path: Path) -> None:
    """ZeRO-2 and ZeRO-3 on two ranks, all weights and LoRA, against ZeRO-0 on one, after three steps of lr 1e-3 with a
    weight decay that shows.

    Tolerance 1e-4. The bias of BERT's keys is left out: softmax does not see it, its gradient is rounding, and Adam
    divides rounding by its own size.
    """
    values = {**values, "weight_decay": 10.0}
    lora = {"lora_rank": 4, "gradient_checkpointing": True, "head_lr_multiplier": 10.0}
    for stage in (2, 3):
        for name, more in (("full", {}), ("lora", lora)):
            settings = TrainSettings(**values, zero_stage=stage, **more)
            (tmp_path / f"settings_{name}_{stage}.json").write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "tests.train.engines"]
    ranks = [subprocess.Popen([*command, str(rank), "2", str(tmp_path)]) for rank in range(2)]
    alone = {
        "full": engines.train(TrainSettings(**values, zero_stage=0)),
        "lora": engines.train(TrainSettings(**values, zero_stage=0, **lora)),
    }
    assert [rank.wait() for rank in ranks] == [0, 0]
    for kind, expected in alone.items():
        for stage in (2, 3):
            found = torch.load(tmp_path / f"settings_{kind}_{stage}.pt")
            assert found.keys() == expected.keys()
            for name in expected:
                if not name.endswith("key.bias"):
                    torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-4, msg=f"{kind} {name}")
