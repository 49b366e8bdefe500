"""The reward model: make one from a backbone, save it, load it, score conversations with it.

A checkpoint is a Hugging Face directory that `AutoModelForSequenceClassification` loads. `coral` is saved as a plain
scalar model (num_labels = 1) with its cutpoints in config.json under "wildreward", `corn` and `independent` with
num_labels = K. Score = 1 + sum_k P(class > k).

    model = RewardModel.load("runs/train/checkpoint")
    model.score([[{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]])[0].score
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn

from wildreward import calibration
from wildreward.batching import token_batches
from wildreward.calibration import Calibration
from wildreward.chat_template import check_renders
from wildreward.checkpoint import CHAT
from wildreward.errors import CheckpointError
from wildreward.fetched import local_copy
from wildreward.ordinal import Cutpoints, HeadKind, decode, ordered
from wildreward.packing import packed_logits
from wildreward.pretrained import from_pretrained, pad, pad_id, positions
from wildreward.scale import FOUR_CLASSES
from wildreward.template import FILE_NAME, Encoded, InputTemplate, Message

CONFIG_KEY = "wildreward"
NUM_CLASSES = len(FOUR_CLASSES)
MAX_CHAT_TOKENS = 8192
"""Longest text read with a tokenizer's own chat template. A template file may say so."""


@dataclass(frozen=True)
class Score:
    """What a scorer says of one reply. Of an ordinal model `score` lies between 1 and the number of classes.

    Other scorers (a scalar reward model, a callable) know no classes: what they do not say is None.
    """

    score: float
    probs: tuple[float, ...] | None = None
    """Of the classes 1..C, never negative, sum 1."""
    uncertainty: float | None = None
    """Standard deviation of the class distribution, in classes."""
    logit: float | None = None
    """The shared scalar f(x) of a coral head, or the raw logit of a scalar reward model."""
    tokens: int | None = None
    """Tokens read by the model."""
    prompt_tokens_cut: int | None = None
    response_tokens_cut: int | None = None
    raw_probs: tuple[float, ...] | None = None
    """`probs` without the calibration that they went through; None where there was none."""

    @property
    def raw_score(self) -> float:
        """`score` without the calibration.

        >>> Score(3.0, probs=(0.0, 1.0), raw_probs=(0.5, 0.5)).raw_score, Score(3.0).raw_score
        (1.5, 3.0)
        """
        return self.score if self.raw_probs is None else sum(k * p for k, p in enumerate(self.raw_probs, start=1))


class OrdinalModel(nn.Module):
    """A sequence-classification backbone with an ordinal head: token ids in, threshold logits (B, K) out."""

    def __init__(self, backbone: nn.Module, head: HeadKind, cutpoints: Sequence[float] | None = None) -> None:
        super().__init__()
        if (head == "coral") != (cutpoints is not None):
            raise ValueError(f"cutpoints belong to the coral head and only to it: head={head}, cutpoints={cutpoints}")
        self.backbone, self.head = backbone, head
        self.cutpoints = None if cutpoints is None else Cutpoints(list(cutpoints))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, bounds: Tensor | None = None) -> Tensor:
        """(B, T) ids and mask, or a pack of rows with its bounds (packing.py) -> (B, K) logits in fp32."""
        raw = self.raw_logits(input_ids, attention_mask, bounds)
        return raw if self.cutpoints is None else raw - self.cutpoints()

    def raw_logits(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, bounds: Tensor | None = None
    ) -> Tensor:
        """(B, 1) the scalar f(x) of a coral head, else (B, K)."""
        if bounds is not None:
            return packed_logits(self.backbone, input_ids, bounds).float()
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask).logits.float()


def new_model(
    backbone: str,
    head: HeadKind,
    num_classes: int = NUM_CLASSES,
    *,
    dtype: str = "float32",
    cutpoints: Sequence[float] | None = None,
    trust_remote_code: bool = False,
    pad_token: str | None = None,
) -> tuple[OrdinalModel, Any]:
    """(model with a fresh head, tokenizer) from "minilm", a directory or a hub id. Raises CheckpointError.

    `pad_token` is set on a tokenizer that has none.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes: found {num_classes}; at least 2")
    labels = num_labels(head, num_classes)
    model, tokenizer = from_pretrained(backbone, dtype, trust_remote_code, pad_token, num_labels=labels)
    return with_head(model, head, num_classes, cutpoints), tokenizer


def num_labels(head: HeadKind, num_classes: int) -> int:
    """Outputs of the backbone: the shared scalar, or a logit a threshold."""
    return 1 if head == "coral" else num_classes - 1


def with_head(
    backbone: nn.Module, head: HeadKind, num_classes: int, cutpoints: Sequence[float] | None = None
) -> OrdinalModel:
    """The backbone as an ordinal model; cutpoints of a coral head are even around 0 where none are given."""
    even = [float(k) - num_classes / 2 for k in range(1, num_classes)]
    return OrdinalModel(backbone, head, (cutpoints or even) if head == "coral" else None)


def default_template(tokenizer: Any, max_tokens: int) -> InputTemplate:
    """`chat` where the tokenizer has a chat template, else `plain`."""
    return InputTemplate(max_tokens=max_tokens, kind="chat" if getattr(tokenizer, "chat_template", None) else "plain")


def chat_template(tokenizer: Any, config: Any, name: str, source: str | None = None) -> InputTemplate:
    """The tokenizer's own chat template, or the given jinja source, up to what the model can read.

    Raises CheckpointError where there is none, or the given one cannot render a reply.
    """
    if source is None and not getattr(tokenizer, "chat_template", None):
        raise CheckpointError(
            f"{name}: its tokenizer has no chat template; give --template FILE or --chat-template FILE"
        )
    limits = (tokenizer.model_max_length, positions(config), MAX_CHAT_TOKENS)
    template = InputTemplate(min(int(limit) for limit in limits if limit), "chat", chat_template=source)
    check_renders(template, tokenizer, name)
    return template


def save_checkpoint(
    directory: str | Path,
    model: OrdinalModel,
    tokenizer: Any,
    template: InputTemplate,
    state: Mapping[str, Tensor] | None = None,
    *,
    cutpoints: list[float] | None = None,
) -> None:
    """Weights, tokenizer, template, and in config.json the head, the number of classes and the cutpoints.

    `state` stands for `model.state_dict()` where the model itself holds only a shard of each weight (ZeRO-3),
    `cutpoints` for those it was trained with.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    state = model.state_dict() if state is None else state
    if cutpoints is None and model.cutpoints is not None:
        cutpoints = ordered(**_under("cutpoints.", state)).float().tolist()
    backbone: Any = model.backbone
    num_classes = backbone.config.num_labels + 1 if cutpoints is None else len(cutpoints) + 1
    described = {
        "head": model.head,
        "num_classes": num_classes,
        "cutpoints": cutpoints and list(cutpoints),
        "temperature": 1.0,
    }
    setattr(backbone.config, CONFIG_KEY, described)
    backbone.save_pretrained(directory, state_dict=_under("backbone.", state))
    tokenizer.save_pretrained(directory)
    template.save(directory)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


class TextScorer(ABC):
    """A loaded model that scores conversations. Scores do not depend on what else is in the batch, beyond rounding."""

    shares_prompts = False
    """Whether neighbours that begin alike cost the work of what is alike once."""

    def __init__(self, model: nn.Module, tokenizer: Any, template: InputTemplate, name: str) -> None:
        self.model, self.tokenizer, self.template, self.name = model.eval(), tokenizer, template, name
        self.max_tokens = template.max_tokens

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def describe(self) -> dict[str, Any]:
        """What this model is, as plain values."""
        return {
            "checkpoint": self.name,
            "architecture": type(getattr(self.model, "backbone", self.model)).__name__,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "dtype": str(next(self.model.parameters()).dtype).removeprefix("torch."),
            "template": self.template.kind,
            "max_tokens": self.max_tokens,
        }

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Raises DataError for a conversation that cannot be scored."""
        return self.template.encode(messages, self.tokenizer)

    def score(self, conversations: Sequence[Sequence[Message]], batch_tokens: int = 8192) -> list[Score]:
        """One Score a conversation, in order. Raises DataError for the first that cannot be scored."""
        return self.score_encoded([self.encode(messages) for messages in conversations], batch_tokens)

    def score_encoded(self, items: Sequence[Encoded], batch_tokens: int = 8192) -> list[Score]:
        """As `score`, of items already tokenised; batches hold at most `batch_tokens` padded tokens (or one item)."""
        scores: list[Score | None] = [None] * len(items)
        for batch in token_batches([len(item.input_ids) for item in items], batch_tokens):
            for index, score in zip(batch, self._score_batch([items[i] for i in batch]), strict=True):
                scores[index] = score
        return [score for score in scores if score is not None]

    @abstractmethod
    def _score_batch(self, items: Sequence[Encoded]) -> list[Score]:
        """One forward pass."""


class RewardModel(TextScorer):
    """A loaded checkpoint with an ordinal head."""

    model: OrdinalModel

    def __init__(
        self,
        model: OrdinalModel,
        tokenizer: Any,
        template: InputTemplate,
        name: str = "",
        temperature: float = 1.0,
        *,
        calibration: Calibration | None = None,
        calibrated: bool = True,
    ) -> None:
        """`calibration` is what the checkpoint has, `calibrated` whether scores go through it."""
        super().__init__(model, tokenizer, template, name)
        self.temperature = temperature
        self.calibration, self.calibrated = calibration, calibrated and calibration is not None
        self.head: HeadKind = model.head
        self.cutpoints = None if model.cutpoints is None else tuple(model.cutpoints().tolist())
        self.num_classes = 1 + (_config(model).num_labels if self.cutpoints is None else len(self.cutpoints))

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "cpu",
        dtype: str = "float32",
        template: str | None = None,
        trust_remote_code: bool = False,
        *,
        calibrated: bool = True,
        chat_source: str | None = None,
    ) -> Self:
        """From a directory or URL; `template` is a file, or "chat" for the tokenizer's own chat template, and
        `chat_source` the jinja source of another one.

        `calibrated` False leaves out the checkpoint's calibration.
        Raises CheckpointError naming what is missing or does not fit.
        """
        directory = local_copy(str(path))
        found = template_of(Path(directory), template, chat_source)
        backbone, tokenizer = from_pretrained(directory, dtype, trust_remote_code)
        backbone = backbone.to(device)
        return cls.around(backbone, tokenizer, str(path), found, calibrated=calibrated, chat_source=chat_source)

    @classmethod
    def around(
        cls,
        backbone: Any,
        tokenizer: Any,
        name: str,
        template: InputTemplate | None,
        *,
        calibrated: bool = True,
        chat_source: str | None = None,
    ) -> Self:
        """A backbone with the head and the scale that its config describes; no template is a chat template.

        Raises CheckpointError.
        """
        chosen = template or chat_template(tokenizer, backbone.config, name, chat_source)
        described = _described(backbone.config, name)
        check_positions(backbone.config, chosen, name)
        model = OrdinalModel(backbone, described["head"], described.get("cutpoints"))
        if model.cutpoints is not None and backbone.device.type != "meta":
            model.cutpoints.to(backbone.device)
        thresholds = described["num_classes"] - 1 if described["head"] == "coral" else backbone.config.num_labels
        fitted = calibration.read(described.get(calibration.KEY), described["head"], thresholds, f"{name}/config.json")
        temperature = described.get("temperature", 1.0)
        return cls(model, tokenizer, chosen, name, temperature, calibration=fitted, calibrated=calibrated)

    def describe(self) -> dict[str, Any]:
        """As of every scorer, and its head."""
        head = {
            "head": self.head,
            "num_classes": self.num_classes,
            "cutpoints": self.cutpoints,
            "temperature": self.temperature,
            "calibrated": self.calibrated,
            "calibration": None if self.calibration is None else self.calibration.to_config(),
        }
        return super().describe() | head

    def raw_logits(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """(B, 1) the scalar f(x) of a coral head, else (B, K), of token ids. Another way to compute them goes here."""
        input_ids, attention_mask = pad(ids, pad_id(self.tokenizer))
        return self.model.raw_logits(input_ids.to(self.device), attention_mask.to(self.device))

    def uncalibrated(self, raw: Tensor) -> Tensor:
        """(B, K) threshold logits as trained, of raw ones."""
        return (raw if self.model.cutpoints is None else raw - self.model.cutpoints()) / self.temperature

    @torch.inference_mode()
    def _score_batch(self, items: Sequence[Encoded]) -> list[Score]:
        return self.scores_of(self.raw_logits([item.input_ids for item in items]), items)

    def scores_of(self, raw: Tensor, items: Sequence[Encoded]) -> list[Score]:
        """What the raw logits of `raw_logits` say of each item. Raises CheckpointError for one that is not finite."""
        trained = decode(self.head, self.uncalibrated(raw))
        decoded, before = trained, None
        if self.calibrated and self.calibration is not None:
            decoded = decode(self.head, self.calibration.logits(raw))
            before = trained.probs_BC.tolist()
        if not bool(torch.isfinite(decoded.score_B).all()):
            raise CheckpointError(f"{self.name}: the model gives scores that are not numbers")
        columns = (decoded.score_B.tolist(), map(tuple, decoded.probs_BC.tolist()), decoded.uncertainty_B.tolist())
        logits = raw[:, 0].tolist() if self.head == "coral" else [None] * len(items)
        return [
            Score(
                score,
                tuple(probs),
                spread,
                logit,
                len(item.input_ids),
                item.prompt_tokens_cut,
                item.response_tokens_cut,
                None if before is None else tuple(before[place]),
            )
            for place, (item, score, probs, spread, logit) in enumerate(zip(items, *columns, logits, strict=True))
        ]


def template_of(directory: Path, template: str | None, chat_source: str | None = None) -> InputTemplate | None:
    """The template file given, or the checkpoint's own; None where a chat template was asked for.

    Raises CheckpointError where there is none of these.
    """
    if template == CHAT or chat_source is not None:
        return None
    if template is not None:
        return InputTemplate.load(template)
    if not (directory / FILE_NAME).is_file():
        raise CheckpointError(
            f"{directory}: no {FILE_NAME}; a checkpoint without one needs --template or --chat-template FILE"
        )
    return InputTemplate.load(directory)


def _described(config: Any, name: str) -> dict[str, Any]:
    """The head of a checkpoint; one of other origin with several labels is taken as independent thresholds."""
    described = getattr(config, CONFIG_KEY, None)
    if described is None and config.num_labels > 1:
        return {"head": "independent"}
    if not isinstance(described, dict) or described.get("head") not in get_args(HeadKind):
        raise CheckpointError(f"{name}/config.json: no ordinal head under {CONFIG_KEY!r}; found {described!r}")
    expected = num_labels(described["head"], described["num_classes"])
    if config.num_labels != expected:
        raise CheckpointError(
            f"{name}/config.json: head {described['head']} has {expected} labels, found {config.num_labels}"
        )
    return described


def check_positions(config: Any, template: InputTemplate, name: str) -> None:
    """Raises CheckpointError where the template allows more tokens than the model has positions."""
    limit = positions(config)
    if limit is not None and template.max_tokens > limit:
        raise CheckpointError(
            f"{name}: template max_tokens {template.max_tokens} exceeds the model's {limit} positions"
        )


def _config(model: OrdinalModel) -> Any:
    backbone: Any = model.backbone
    return backbone.config
