"""LoRA: what is trained, what is stored, what is published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.train import engines
from train import engine as deepspeed_engine
from wildreward import lora, zero
from wildreward.errors import UsageError
from wildreward.reward_model import RewardModel
from wildreward.settings.train import TrainSettings
from wildreward.template import InputTemplate


@pytest.fixture(scope="module")
def values(make_backbone: Callable[..., Path]) -> dict[str, Any]:
    return {"backbone": str(make_backbone()), "max_tokens": 64, "lr": 1e-2, "lora_rank": 4}


def test_targets_that_match_no_module_are_named_with_those_there_are(values: dict[str, Any]) -> None:
    settings = TrainSettings(**values, lora_targets=("query", "v_proj", "classifier"))
    with pytest.raises(
        UsageError, match=r"--lora-targets: v_proj, classifier match no linear layer .* dense, key, query"
    ):
        lora.check_targets(settings, AutoConfig.from_pretrained(settings.backbone))
    lora.check_targets(TrainSettings(**values, lora_targets=("query",)), AutoConfig.from_pretrained(settings.backbone))


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("targets", [("all-linear",), ("query", "value")])
def test_adapters_head_and_cutpoints_are_trained_and_nothing_else(
    values: dict[str, Any], targets: tuple[str, ...]
) -> None:
    model, engine = engines.start(TrainSettings(**values, zero_stage=0, lora_targets=targets))
    before = zero.full_state(engine, keep=True)
    for _ in range(2):
        engines.step(engine, TrainSettings(**values))
    after = zero.full_state(engine, keep=True)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"cutpoints.first", "cutpoints.gaps", "backbone.classifier.weight", "backbone.classifier.bias"} < changed
    assert changed == trained
    assert all("lora_" in name or name.startswith(("cutpoints", "backbone.classifier")) for name in trained)
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained if "lora_" in name}
    assert adapted == ({"query", "key", "value", "dense"} if targets == ("all-linear",) else set(targets))


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_stored_state_has_no_frozen_weights_and_continues_exactly(
    values: dict[str, Any], tmp_path: Path, stage: int
) -> None:
    settings = TrainSettings(**values, zero_stage=stage, gradient_checkpointing=True)
    _, engine = engines.start(settings)
    engines.step(engine, settings)
    engine.save_checkpoint(str(tmp_path), tag="ds", exclude_frozen_parameters=True)
    engines.step(engine, settings)
    _, other = engines.start(settings)
    other.load_checkpoint(str(tmp_path), tag="ds", load_module_strict=False)
    zero.set_learning_rate(other, settings.lr)
    engines.step(other, settings)
    expected, found = (zero.full_state(each, keep=True) for each in (engine, other))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    stored = sum(path.stat().st_size for path in (tmp_path / "ds").iterdir())
    trained = sum(p.numel() for p in zero.full_state(engine, keep=True, trained_only=True).values())
    assert stored < 4 * 4 * trained + 100_000  # fp32 weights and optimiser; the embeddings alone are 3.9 MB


@pytest.mark.usefixtures("process_group")
def test_the_published_model_is_the_trained_one_merged_with_the_adapter_beside_it(
    values: dict[str, Any], tmp_path: Path
) -> None:
    from peft import PeftModel

    settings = TrainSettings(**values, zero_stage=0)
    model, engine = engines.start(settings)
    engines.step(engine, settings)
    state = zero.full_state(engine, keep=True, trained_only=True)
    cutpoints = deepspeed_engine.cutpoints(engine)
    lora.save_adapter(tmp_path / "kept", model, state, cutpoints, lora.adapter_config(settings))
    lora.merge(tmp_path / "kept", tmp_path / "published", settings, InputTemplate(max_tokens=64))
    ids, _ = engines.batch()
    mask = torch.ones_like(ids)
    with torch.no_grad():
        trained = engine.module.eval()(ids, mask)
        published = RewardModel.load(tmp_path / "published").model(ids, mask)
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "published")(ids, mask).logits
        base = AutoModelForSequenceClassification.from_pretrained(
            settings.backbone, num_labels=1, ignore_mismatched_sizes=True
        )
        adapted = PeftModel.from_pretrained(base, str(tmp_path / "published" / "adapter")).eval()(ids, mask).logits
    torch.testing.assert_close(published, trained, rtol=0, atol=1e-5)
    torch.testing.assert_close(plain, trained[:, :1] + torch.tensor(cutpoints)[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(adapted, plain, rtol=0, atol=1e-5)
