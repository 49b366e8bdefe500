"""Settings of `wildreward train`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wildreward.errors import UsageError
from wildreward.labelling import ClassMap, Labelling
from wildreward.scale import CLASS_MAPS
from wildreward.settings.base import StageSettings

Selector = Literal["spearman", "pairwise", "good_bad_auc", "qwk", "accuracy", "mae", "loss"]

SELECT_MODES = {
    "spearman": "max",
    "pairwise": "max",
    "good_bad_auc": "max",
    "qwk": "max",
    "accuracy": "max",
    "mae": "min",
    "loss": "min",
}
"""Metrics a checkpoint may be chosen by, and which way is better."""


class TrainSettings(StageSettings):
    """An ordinal reward model on Ray Train with DeepSpeed."""

    PLACEMENT = frozenset({"cpus_per_worker", "threads", "worker_failures", "keep_state", "track", "track_project"})

    input: tuple[str, ...] = ()
    """Output directories of `label`, their wildfb/ (or wildfb/train) folders, or WildFB parquet files and globs."""

    backbone: str = "minilm"
    """What to start from: minilm (embedded, 22M), or a Hugging Face directory or hub id."""

    trust_remote_code: bool = False
    """Let the backbone's repository run its own code."""

    head: Literal["coral", "corn", "independent"] = "coral"
    """coral: a shared scalar and ordered cutpoints; corn: conditional logits; independent: free threshold logits."""

    class_map: ClassMap = "data"
    """Where classes come from: data (the label column as it is), or the level column by four, five or binary, whatever
    map the rows were labelled with. Rows whose level the map drops are left out."""

    num_classes: int = Field(default=4, ge=2, le=10)
    """Classes of the label column, which holds 1..num_classes. Follows from any class_map but data."""

    targets: Literal["hard", "soft"] = "hard"
    """hard: the class. soft: the judge's level_probs summed by class, for rows that have them; needs a class_map."""

    cutpoint_start: Literal["frequencies", "even"] = "frequencies"
    """coral: cutpoints start at the class frequencies of the training rows, or evenly spaced around 0."""

    cutpoint_freedom: Literal["learned", "fixed", "refitted"] = "learned"
    """coral: cutpoints are trained (their order is kept); stay where they start (fixed); or stay while the backbone
    trains, and each checkpoint gets those that fit its scores of the validation rows best (refitted)."""

    threshold_weights: Literal["none", "balanced"] | tuple[Annotated[float, Field(gt=0)], ...] = "none"
    """Importance of each threshold in the loss: none, balanced (the rarer a side, the heavier), or K numbers."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each threshold target moved towards 1/2."""

    template: Literal["auto", "plain", "chat"] = "auto"
    """How messages become text: plain prefixes, the tokenizer's chat template, or chat where there is one (auto)."""

    pad_token: str | None = None
    """Token of the vocabulary to pad with, for a backbone that has no pad token."""

    max_tokens: int = Field(default=512, ge=16)
    """Longest input in tokens; history and the head of the prompt are cut first, the response last."""

    validation_frac: float = Field(default=0.1, ge=0, lt=0.9)
    """Share of the training rows, by conversation, set apart to choose the checkpoint by; never the test split."""

    calibrate: bool = True
    """Fit temperature and cutpoints after training, on calibration_frac's rows or else on the validation rows."""

    calibration_frac: float = Field(default=0.0, ge=0, lt=0.9)
    """Share of the training rows, by conversation, set apart for the calibration alone. 0: it is fitted on the
    validation rows, which chose the checkpoint too."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training rows."""

    max_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps; replaces epochs."""

    batch_rows: int = Field(default=32, ge=1)
    """Rows of one optimiser step, over all workers."""

    micro_batch_tokens: int = Field(default=8192, ge=16)
    """Most tokens, padding included, of one forward pass of one worker; more passes accumulate gradients."""

    bucket_batches: int = Field(default=8, ge=1)
    """Rows are sorted by length within this many batches: more means less padding, and batches less mixed in length."""

    attention: Literal["auto", "padded", "packed"] = "auto"
    """packed: rows of a forward pass end to end, without padding (decoders); auto: packed where the backbone can."""

    lr: float = Field(default=5e-5, gt=0)
    """Peak learning rate (AdamW)."""

    head_lr_multiplier: float = Field(default=1.0, gt=0)
    """Learning rate of the new head and its cutpoints, in units of lr."""

    lr_schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay after warm-up."""

    warmup_frac: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""

    min_lr_frac: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the end, in units of lr."""

    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW weight decay; biases, norms and cutpoints are left out."""

    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW betas."""

    freeze_embeddings: bool = False
    """Leave the input embeddings as they are: half of a small backbone's weights, and what few rows overfit first."""

    lora_rank: int = Field(default=0, ge=0)
    """Rank of LoRA adapters; 0 trains all weights. The head and the cutpoints are always trained in full."""

    lora_alpha: int = Field(default=16, ge=1)
    """LoRA's scale: adapters add alpha / rank times their product."""

    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the input of the adapters."""

    lora_targets: tuple[str, ...] = Field(default=("all-linear",), min_length=1)
    """Modules that get an adapter, by the end of their names (q_proj, v_proj); all-linear: every one but the head."""

    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this global norm."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of weights and activations; the optimiser keeps float32."""

    zero_stage: Literal[0, 1, 2, 3] = 2
    """DeepSpeed ZeRO stage: 1 shards the optimiser, 2 the gradients too, 3 the weights too."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    workers: int = Field(default=1, ge=1)
    """Ray Train workers, one GPU each where GPUs are used."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train; auto takes GPUs when the cluster has one for every worker."""

    cpus_per_worker: float = Field(default=1.0, gt=0)
    """Ray CPUs a worker reserves (slots, not threads)."""

    threads: int = Field(default=0, ge=0)
    """CPU threads of a worker; 0 shares the node's cores among its workers."""

    evaluate_every_steps: int | None = Field(default=None, ge=1)
    """Steps between evaluations, each of which saves a checkpoint; null: four times in a run."""

    select_by: Selector = "mae"
    """Validation metric that chooses the best checkpoint and stops early."""

    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better select_by; null: never."""

    log_every_steps: int = Field(default=5, ge=1)
    """Steps between lines of metrics.jsonl."""

    track: tuple[Literal["wandb", "mlflow"], ...] = ()
    """Also log to Weights & Biases or MLflow (extras wandb, mlflow); a run that continues goes on in the same run."""

    track_project: str = "wildreward"
    """Project (Weights & Biases) or experiment (MLflow) of the run."""

    worker_failures: int = Field(default=2, ge=0)
    """How often a failed worker group is restarted from its last checkpoint before the run fails."""

    keep_state: bool = False
    """Keep the DeepSpeed state (about 12 bytes a parameter) of the last and best checkpoint when the run is done."""

    @model_validator(mode="before")
    @classmethod
    def _classes_of_the_map(cls, values: Any) -> Any:
        """num_classes follows from the class map."""
        found = values.get("class_map") if isinstance(values, dict) else None
        if not isinstance(found, str) or found not in CLASS_MAPS:
            return values
        count = max(CLASS_MAPS[found].values())
        if str(values.get("num_classes", count)) != str(count):  # a flag comes as text
            raise ValueError(
                f"num_classes: found {values['num_classes']}; class_map {found} has {count} classes: leave it out"
            )
        return {**values, "num_classes": count}

    @model_validator(mode="after")
    def _labels_can_be_made(self) -> "TrainSettings":
        if self.targets == "soft" and self.class_map == "data":
            raise ValueError("targets: soft needs class_map four, five or binary: level_probs are of levels")
        if self.head == "coral" and self.cutpoint_freedom == "refitted" and self.validation_frac == 0:
            raise ValueError("cutpoint_freedom: refitted needs validation rows; validation_frac is 0")
        if "all-linear" in self.lora_targets and len(self.lora_targets) > 1:
            raise ValueError(f"lora_targets: found {self.lora_targets}; all-linear stands alone")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "TrainSettings":
        thresholds = self.num_classes - 1
        if isinstance(self.threshold_weights, tuple) and len(self.threshold_weights) != thresholds:
            raise ValueError(
                f"threshold_weights: found {len(self.threshold_weights)} numbers; "
                f"num_classes={self.num_classes} has {thresholds} thresholds"
            )
        if self.micro_batch_tokens < self.max_tokens:
            raise ValueError(
                f"micro_batch_tokens: found {self.micro_batch_tokens}; one row may have max_tokens={self.max_tokens}"
            )
        if self.batch_rows < self.workers:
            raise ValueError(
                f"batch_rows: found {self.batch_rows}; each of workers={self.workers} needs a row of a batch"
            )
        if self.calibration_frac and not self.calibrate:
            raise ValueError(f"calibration_frac: found {self.calibration_frac}; with calibrate false it must be 0")
        if self.validation_frac + self.calibration_frac >= 0.9:
            raise ValueError(
                f"calibration_frac: found {self.calibration_frac}; with validation_frac={self.validation_frac} less "
                "than 0.9 in all must be set apart"
            )
        if self.early_stopping_patience is not None and self.validation_frac == 0:
            raise ValueError("early_stopping_patience: needs validation rows; validation_frac is 0")
        return self

    @property
    def labelling(self) -> Labelling:
        return Labelling(self.num_classes, self.class_map, self.targets == "soft")

    def required(self) -> None:
        """Raises UsageError when a flag without which nothing can run is absent (a preset may leave both out)."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise UsageError(f"train: {name} is required (--{name})")
