"""LoRA adapters on a backbone: put in place, saved while training, merged into full weights for the checkpoint.

Only the adapters and the head are trained and stored while a run goes; what is published is an ordinary full model,
with the adapter beside it in adapter/ as peft's `PeftModel.from_pretrained` reads it.
Source: Hu et al. 2021, arXiv 2106.09685; the implementation is peft's.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wildreward.errors import CheckpointError, UsageError
from wildreward.ordinal import HeadKind
from wildreward.reward_model import OrdinalModel, new_model, save_checkpoint
from wildreward.settings.train import TrainSettings
from wildreward.template import InputTemplate

FOLDER = "adapter"
HEAD_FILE = "wildreward_head.json"
HEAD_NAMES = ("classifier", "score")
"""What Hugging Face's sequence-classification models call their head."""

ALL_LINEAR = ("all-linear",)

NAME = "default"
"""peft's name of an adapter that is the only one."""


def head_name(backbone: nn.Module) -> str:
    """Raises CheckpointError for a model whose head has another name."""
    for name in HEAD_NAMES:
        if hasattr(backbone, name):
            return name
    raise CheckpointError(f"{type(backbone).__name__}: found no head; looked for {' and '.join(HEAD_NAMES)}")


def adapter_config(settings: TrainSettings) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        task_type="SEQ_CLS",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=target_modules(settings.lora_targets),
        exclude_modules=rf"({'|'.join(HEAD_NAMES)})(\..*)?",
        base_model_name_or_path=settings.backbone,
    )


def target_modules(targets: tuple[str, ...]) -> str | list[str]:
    """The layers that adapters go into, as peft wants them."""
    return targets[0] if targets == ALL_LINEAR else list(targets)


def inject(model: nn.Module, config: Any, seed: int) -> None:
    """Put adapters into a model, in place: they alone are trained."""
    from peft import inject_adapter_in_model

    torch.manual_seed(seed)  # the same adapter on every rank and at every ZeRO stage
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def check_targets(settings: TrainSettings, config: Any) -> None:
    """Raises UsageError for names in lora_targets that match no linear layer. The model is built without weights."""
    from transformers import AutoModelForSequenceClassification

    if settings.lora_targets == ALL_LINEAR:
        return
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=settings.trust_remote_code)
    refuse_unknown_targets(model, settings.lora_targets, head_name(model), settings.backbone)


def refuse_unknown_targets(model: nn.Module, targets: Sequence[str], head: str, name: str) -> None:
    """Raises UsageError for targets that match no linear layer of `model`, its `head` left out."""
    linear = [
        path
        for path, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and path.split(".")[0] != head
    ]
    unknown = [target for target in targets if not any(f".{path}".endswith(f".{target}") for path in linear)]
    if unknown:
        known = sorted({path.rsplit(".", 1)[-1] for path in linear})
        raise UsageError(
            f"--lora-targets: {', '.join(unknown)} match no linear layer of {name}; "
            f"its layers end in {', '.join(known)}"
        )


def add_adapter(model: OrdinalModel, settings: TrainSettings) -> None:
    """Put adapters into the backbone, in place: they, the head and the cutpoints are trained, the rest is frozen."""
    backbone = model.backbone
    inject(backbone, adapter_config(settings), settings.seed)
    getattr(backbone, head_name(backbone)).requires_grad_(True)


def save_adapter(
    directory: Path, model: OrdinalModel, state: Mapping[str, Tensor], cutpoints: list[float] | None, config: Any
) -> None:
    """Write `directory` as peft reads it, and the ordinal head beside. `state` holds at least the trained weights."""
    from safetensors.torch import save_file

    head = head_name(model.backbone)
    trained = {name.removeprefix("backbone."): tensor for name, tensor in state.items() if name.startswith("backbone.")}
    weights = {
        f"base_model.model.{name.replace(f'.{NAME}', '')}": tensor.contiguous()
        for name, tensor in trained.items()
        if "lora_" in name or name.split(".")[0] == head
    }
    directory.mkdir(parents=True, exist_ok=True)
    save_file(weights, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config.modules_to_save, config.inference_mode = [head], True
    config.save_pretrained(directory)
    (directory / HEAD_FILE).write_text(json.dumps({"head": model.head, "cutpoints": cutpoints}))


def merge(source: Path, target: Path, settings: TrainSettings, template: InputTemplate) -> None:
    """From an adapter folder the full model, saved like any other checkpoint, with the adapter in adapter/."""
    from peft import PeftModel

    described = json.loads((source / HEAD_FILE).read_text())
    head: HeadKind = described["head"]
    model, tokenizer = new_model(
        settings.backbone,
        head,
        settings.num_classes,
        dtype=settings.dtype,
        cutpoints=described["cutpoints"],
        trust_remote_code=settings.trust_remote_code,
        pad_token=settings.pad_token,
    )
    backbone: Any = model.backbone
    model.backbone = PeftModel.from_pretrained(backbone, str(source)).merge_and_unload()
    save_checkpoint(target, model, tokenizer, template)
    shutil.copytree(source, target / FOLDER)
