"""The engine at every ZeRO stage: gradient norm, clipping, what is not a number, the same start and the same end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ranks import spawn
from tests.train import engines
from train import engine as deepspeed_engine
from wildreward import zero
from wildreward.errors import TrainingError
from wildreward.ordinal import frequency_cutpoints
from wildreward.policies import new_policy
from wildreward.reward_model import new_model
from wildreward.settings.train import TrainSettings

STAGES = (0, 1, 2, 3)
EVERYWHERE = [(stage, dtype) for dtype in ("float32", "bfloat16") for stage in STAGES]

pytestmark = pytest.mark.usefixtures("process_group")


@pytest.fixture(scope="module")
def values(make_backbone: Callable[..., Path]) -> dict[str, Any]:
    return {"backbone": str(make_backbone()), "max_tokens": 64, "lr": 1e-3, "weight_decay": 0.0}


@pytest.mark.parametrize(("stage", "dtype"), EVERYWHERE)
def test_the_gradient_norm_is_reported_clipped_by_and_must_be_a_number(
    values: dict[str, Any], stage: int, dtype: str
) -> None:
    """One engine, as each costs a second: the norm is the one computed by hand; gradients are clipped by it (Adam
    divides by their size unless that is far below its epsilon of 1e-8); and where it is no number, weights stay."""
    settings = TrainSettings(**values, zero_stage=stage, dtype=dtype, max_grad_norm=1e-10)
    _, engine = engines.start(settings)
    states = [zero.full_state(engine, keep=True)]
    norm = engines.step(engine, settings)
    assert norm == pytest.approx(norm_by_hand(settings), rel=1e-5 if dtype == "float32" else 2e-2)
    states.append(zero.full_state(engine, keep=True))
    assert distance(states[0], states[1]) < settings.lr / 20
    loss = engines.losses(engine, settings).mean()
    engine.backward(loss + torch.sqrt(loss * 0), scale_wrt_gas=False)  # finite, with a gradient of infinity times 0
    with pytest.raises(TrainingError, match=r"the gradient norm is (nan|inf)"):
        zero.step(engine)
    assert distance(states[1], zero.full_state(engine, keep=True)) == 0


def norm_by_hand(settings: TrainSettings) -> float:
    torch.manual_seed(settings.seed)
    cutpoints = frequency_cutpoints(engines.LABELS, 4)
    plain, _ = new_model(settings.backbone, "coral", dtype=settings.dtype, cutpoints=cutpoints)
    engines.losses(plain.to(getattr(torch, settings.dtype)), settings).mean().backward()
    norm = torch.cat([p.grad.float().flatten() for p in plain.parameters() if p.grad is not None]).norm().item()
    assert norm > 1e-3
    return norm


def distance(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """Euclidean, over all weights; an unclipped step of Adam goes about lr in each of the million dimensions."""
    return sum((after[name] - before[name]).float().square().sum().item() for name in before) ** 0.5


def test_weights_that_are_not_numbers_are_not_handed_out(values: dict[str, Any]) -> None:
    model, engine = engines.start(TrainSettings(**values, zero_stage=0))
    with torch.no_grad():
        model.cutpoints.first.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"weights are not numbers \(cutpoints.first\)"):
        zero.full_state(engine, keep=True)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("llama")
    new_policy(directory, [[{"role": "user", "content": "hi"}]], vocabulary=300, hidden=32, layers=2, heads=2)
    return str(directory)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_shards_start_from_the_weights_of_the_whole_model(
    values: dict[str, Any], llama: str, kind: str, dtype: str
) -> None:
    """The fresh head too, which is random; and rotary frequencies stay float32 at every stage."""
    values = {**values, **({"backbone": llama} if kind == "llama" else {}), "dtype": dtype}
    found = [
        zero.full_state(engines.start(TrainSettings(**values, zero_stage=stage))[1], keep=True) for stage in (0, 2, 3)
    ]
    for other in found[1:]:
        assert found[0].keys() == other.keys()
        assert all(torch.equal(found[0][name], other[name]) for name in other)
    assert {tensor.dtype for name, tensor in found[0].items() if "inv_freq" in name} <= {torch.float32}
    assert any("inv_freq" in name for name in found[0]) is (kind == "llama")


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
    ranks = spawn("tests.train.engines", tmp_path)
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
