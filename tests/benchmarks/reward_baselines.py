"""Two reward models to compare the ordinal heads with: plain regression, and a pairwise model by TRL.

Both get the token ids, the optimiser, the learning-rate schedule and the number of row readings of `wildreward train`
(see `Budget`), and are saved as scalar Hugging Face checkpoints with the input template beside the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from train.engine import parameter_groups
from train.tokens import TokenStore
from wildreward.batching import Batches, Rows, epoch_batches, micro_batches, steps_per_epoch
from wildreward.pretrained import from_pretrained, pad, pad_id
from wildreward.reward_model import OrdinalModel
from wildreward.schedule import learning_rate
from wildreward.settings.train import TrainSettings
from wildreward.template import InputTemplate


@dataclass(frozen=True)
class Budget:
    """What every model gets alike: rows in epochs, rows a step, optimiser, schedule, precision. As `train` reads it."""

    settings: TrainSettings
    store: TokenStore
    template: InputTemplate

    @property
    def steps(self) -> int:
        return round(self.settings.epochs * steps_per_epoch(len(self.store), self.settings.batch_rows))

    def rate(self, step: int) -> float:
        """Learning rate as a share of its peak."""
        settings = self.settings
        return learning_rate(step, self.steps, 1.0, kind=settings.lr_schedule, warmup_frac=settings.warmup_frac)


def train_regression(budget: Budget, directory: Path) -> None:
    """Mean squared error of one logit against the class number; the bias starts at the mean class."""
    settings, store = budget.settings, budget.store
    model, tokenizer = _scalar(settings)
    torch.nn.init.constant_(model.classifier.bias, float(store.labels.mean()))
    optimizer, schedule = _optimizer(model, budget)
    model.train()
    batches = Batches(store.lengths, settings.batch_rows, settings.bucket_batches, settings.seed)
    for step in range(budget.steps):
        rows = batches.of_step(step)
        for micro in micro_batches(store.lengths, rows, 1, settings.micro_batch_tokens)[0]:
            input_ids, mask = pad([store.input_ids(row) for row in micro.rows], pad_id(tokenizer))
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.dtype == "bfloat16"):
                logits_B = model(input_ids=input_ids, attention_mask=mask).logits[:, 0]
            labels_B = torch.from_numpy(store.labels[list(micro.rows)]).float()
            (functional.mse_loss(logits_B.float(), labels_B, reduction="sum") / len(rows)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    _save(model, tokenizer, budget.template, directory)


def train_bradley_terry(budget: Budget, directory: Path) -> None:
    """TRL's RewardTrainer on pairs of rows: P(chosen beats rejected) = sigmoid(score - score)."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    settings = budget.settings
    model, tokenizer = _scalar(settings)
    pairs = [pair for batch in batches_of_pairs(budget) for pair in batch]
    ids = {
        name: [budget.store.input_ids(pair[side]) for pair in pairs]
        for side, name in enumerate(("chosen_ids", "rejected_ids"))
    }
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            output_dir=str(directory / "trainer"),
            per_device_train_batch_size=settings.batch_rows // 2,
            num_train_epochs=1,  # the epochs are laid one after the other, each paired anew
            train_sampling_strategy="sequential",
            max_length=settings.max_tokens,
            max_grad_norm=settings.max_grad_norm,
            disable_dropout=False,
            gradient_checkpointing=False,
            bf16=settings.dtype == "bfloat16",
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            seed=settings.seed,
        ),
        train_dataset=Dataset.from_dict(ids),
        processing_class=tokenizer,
        optimizers=_optimizer(model, budget),
    )
    trainer.train()
    _save(model, tokenizer, budget.template, directory)


def batches_of_pairs(budget: Budget) -> list[list[tuple[int, int]]]:
    """Pairs (higher class, lower class) of rows, in batches of like length: every epoch each row once, paired anew."""
    settings, store = budget.settings, budget.store
    batches: list[list[tuple[int, int]]] = []
    for epoch in range(round(settings.epochs)):
        order = np.random.default_rng((settings.seed, epoch, 1)).permutation(len(store))
        pairs = pair_rows(order, store.labels)
        lengths = np.array([store.lengths[list(pair)].max() for pair in pairs])
        cut = epoch_batches(lengths, settings.batch_rows // 2, settings.bucket_batches, settings.seed, epoch)
        batches += [[pairs[place] for place in batch] for batch in cut]
    return batches


def pair_rows(order: Rows, labels: Rows) -> list[tuple[int, int]]:
    """Rows in this order, each paired with one that waits and is of another class, as (higher, lower class).

    All that wait are of one class at any time, so what is left in the end is of one class and cannot be paired.

    >>> pair_rows(np.array([0, 1, 2, 3, 4]), np.array([1, 1, 4, 2, 2]))
    [(2, 1), (3, 0)]
    """
    waiting: list[int] = []
    pairs: list[tuple[int, int]] = []
    for row in order.tolist():
        if not waiting or labels[waiting[-1]] == labels[row]:
            waiting.append(row)
            continue
        other = waiting.pop()
        pairs.append((row, other) if labels[row] > labels[other] else (other, row))
    return pairs


def _scalar(settings: TrainSettings) -> tuple[Any, Any]:
    torch.manual_seed(settings.seed)
    return from_pretrained(settings.backbone, "float32", False, num_labels=1)


def _optimizer(model: Any, budget: Budget) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW with the parameter groups of `train`: no decay of biases and norms, a faster head."""
    settings = budget.settings
    groups = parameter_groups(OrdinalModel(model, "independent"), settings)
    rates = [{**group, "lr": settings.lr * group["scale"]} for group in groups]
    optimizer = torch.optim.AdamW(rates, lr=settings.lr, betas=settings.betas, fused=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, budget.rate)


def _save(model: Any, tokenizer: Any, template: InputTemplate, directory: Path) -> None:
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    template.save(directory)


BASELINES: dict[str, Callable[[Budget, Path], None]] = {
    "regression": train_regression,
    "bradley-terry": train_bradley_terry,
}


def class_counts(labels: Sequence[int] | Rows) -> dict[int, int]:
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))
