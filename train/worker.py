"""What every Ray Train worker runs: the loop of an ordinal reward model, resumable at the exact micro-batch.

Everything random is a function of (seed, step, rank), so a run that was killed and started again repeats nothing and
ends with the weights of an undisturbed one. Tensors: B batch, K thresholds.
"""

import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from train import engine as deepspeed_engine
from train import tokens
from wildreward.batching import MicroBatch, Rows, batch_of_step, micro_batches, padding_frac
from wildreward.holdout import held_out
from wildreward.ordinal import balanced_weights, decode, frequency_cutpoints, hard_targets, row_losses
from wildreward.pretrained import pad, pad_id
from wildreward.reward_model import new_model, save_checkpoint
from wildreward.schedule import learning_rate
from wildreward.settings.train import SELECT_MODES, TrainSettings
from wildreward.template import InputTemplate
from wildreward.validation import validation_metrics

HF_FOLDER = "hf"


@dataclass(frozen=True)
class Job:
    """What the driver hands every worker. `total_steps` and `evaluate_every` are resolved from the settings."""

    settings: TrainSettings
    template: InputTemplate
    tokens: str
    shards: tuple[str, ...]
    total_steps: int
    evaluate_every: int
    journal: Any
    save: bool = True


@dataclass
class State:
    """Where the run is; saved with every checkpoint, equal on all ranks."""

    step: int = 0
    best: float | None = None
    evaluations_without_better: int = 0
    tokens_seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def train_worker(config: dict[str, Any]) -> None:
    """Entry point of a rank."""
    loop = Loop(config["job"])
    loop.resume()
    loop.run()


class Loop:
    """One rank: its model shard, its data, and where it is."""

    def __init__(self, job: Job) -> None:
        import ray.train

        context = ray.train.get_context()
        self.job, self.settings, self.state = job, job.settings, State()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        torch.set_num_threads(self.settings.threads or max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
        torch.manual_seed(self.settings.seed)
        self.train, self.validation = load_splits(job)
        self.model, self.tokenizer = _model(self.settings, torch.from_numpy(self.train.labels))
        self.engine = deepspeed_engine.initialise(self.model, self.settings)
        self.weights_K = threshold_weights(self.settings, torch.from_numpy(self.train.labels))
        self.sums = _Sums()

    def resume(self) -> None:
        """Load the last checkpoint of this run, if there is one, and tell the journal where the run stands."""
        import ray.train

        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as directory:
                _, client = self.engine.load_checkpoint(directory, tag=deepspeed_engine.CHECKPOINT_TAG)
            self.state = State(**client["state"])
        self._tell({"kind": "start", "step": self.state.step, "total_steps": self.job.total_steps})

    def run(self) -> None:
        while self.state.step < self.job.total_steps and not self._stopped_early():
            self._step()
            at_end = self.state.step == self.job.total_steps
            if at_end or self.state.step % self.settings.log_every_steps == 0:
                self._log()
            if at_end or self.state.step % self.job.evaluate_every == 0:
                self._evaluate_and_report()

    def _stopped_early(self) -> bool:
        patience = self.settings.early_stopping_patience
        return patience is not None and self.state.evaluations_without_better >= patience

    def _step(self) -> None:
        """One optimiser step: this rank's share of the batch, then the update."""
        settings, step = self.settings, self.state.step
        started = time.monotonic()
        torch.manual_seed((settings.seed * 1_000_003 + step) * 4099 + self.rank)
        lengths = self.train.lengths
        rows = batch_of_step(lengths, step, settings.batch_rows, settings.bucket_batches, settings.seed)
        shares = micro_batches(lengths, rows, self.world, settings.micro_batch_tokens)
        rate = learning_rate(
            step,
            self.job.total_steps,
            settings.lr,
            kind=settings.lr_schedule,
            warmup_frac=settings.warmup_frac,
            min_frac=settings.min_lr_frac,
        )
        deepspeed_engine.set_learning_rate(self.engine, rate)
        self.engine.train()
        for micro in shares[self.rank]:
            losses_B, _ = self._forward(self.train, micro)
            # DeepSpeed averages gradients over ranks; the loss is the mean over the rows of the whole batch.
            total = losses_B.sum() * (0.0 if micro.filler else 1.0)
            self.engine.backward(total * self.world / len(rows), scale_wrt_gas=False)
            self.sums.loss += float(total.detach())
        self.engine.step()
        self.state.step += 1
        self._count(rows, shares, rate, time.monotonic() - started)

    def _count(self, rows: Rows, shares: list[list[MicroBatch]], rate: float, seconds: float) -> None:
        every = [micro for share in shares for micro in share]
        real = int(self.train.lengths[rows].sum())
        self.state.tokens_seen += real
        self.sums.add(rows=len(rows), tokens=real, padding=padding_frac(self.train.lengths, every), seconds=seconds)
        self.sums.rate = rate
        if self.rank == 0 and self.state.step % self.settings.log_every_steps:
            self.job.journal.add.remote({"kind": "tick", "step": self.state.step})

    def _forward(self, store: tokens.TokenStore, micro: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses (B,) and logits (B, K) of a micro-batch."""
        input_ids, mask = pad([store.input_ids(row) for row in micro.rows], pad_id(self.tokenizer))
        device = self.engine.device
        logits_BK = self.engine(input_ids.to(device), mask.to(device))
        labels_B = torch.from_numpy(store.labels[list(micro.rows)]).to(device)
        targets_BK = hard_targets(labels_B, self.settings.num_classes)
        weights_K = None if self.weights_K is None else self.weights_K.to(device)
        losses_B = row_losses(self.settings.head, logits_BK, targets_BK, weights_K, self.settings.label_smoothing)
        return losses_B, logits_BK

    def _log(self) -> None:
        """Losses since the last line, over all ranks; refuses to go on with a loss that is not a number."""
        loss_sum = torch.tensor([self.sums.loss], dtype=torch.float64, device=self.engine.device)
        dist.all_reduce(loss_sum)
        sums, self.sums = self.sums, _Sums()
        loss = float(loss_sum) / sums.rows
        record = {
            "kind": "train",
            "step": self.state.step,
            "epoch": round(self.state.step * self.settings.batch_rows / len(self.train), 4),
            "loss": loss,
            "lr": sums.rate,
            "grad_norm": float(self.engine.get_global_grad_norm() or 0.0),
            "tokens_per_s": round(sums.tokens / max(sums.seconds, 1e-9), 1),
            "padding_frac": round(sums.padding / max(sums.steps, 1), 4),
            "tokens": self.state.tokens_seen,
        }
        self._record(record)
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss at step {self.state.step} is {loss}; lower lr or use float32")

    def _record(self, record: dict[str, Any]) -> None:
        self.state.history.append(record)
        self._tell(record)

    def _tell(self, record: dict[str, Any]) -> None:
        if self.rank == 0:
            history = {"history": self.state.history} if record["kind"] == "start" else {}
            self.job.journal.add.remote({**record, **history})

    def _evaluate_and_report(self) -> None:
        import ray.train

        metrics = evaluate(self) if len(self.validation) else {}
        name = self.settings.select_by
        value = metrics.get(name, float(self.state.step))
        sign = 1 if not metrics or SELECT_MODES[name] == "max" else -1
        select = sign * value
        better = self.state.best is None or select > self.state.best
        self.state.best = select if better else self.state.best
        self.state.evaluations_without_better = 0 if better else self.state.evaluations_without_better + 1
        if metrics:
            self._record({"kind": "validation", "step": self.state.step, **metrics})
        evaluation = -(-self.state.step // self.job.evaluate_every)
        report = {"step": self.state.step, "evaluation": evaluation, "select": select, **metrics}
        if not self.job.save:
            ray.train.report(report)
            return
        with tempfile.TemporaryDirectory(prefix="wildreward-") as directory:
            self._save(Path(directory))
            checkpoint = ray.train.Checkpoint.from_directory(directory)
            ray.train.report(report, checkpoint=checkpoint, checkpoint_dir_name=f"ckpt_{self.state.step:06d}")

    def _save(self, directory: Path) -> None:
        """This rank's DeepSpeed shard and, on rank 0, the whole model as a Hugging Face directory."""
        self.engine.save_checkpoint(
            str(directory), tag=deepspeed_engine.CHECKPOINT_TAG, client_state={"state": asdict(self.state)}
        )
        state = deepspeed_engine.full_state(self.engine, keep=self.rank == 0)
        if self.rank == 0:
            save_checkpoint(directory / HF_FOLDER, self.model, self.tokenizer, self.job.template, state)


@dataclass
class _Sums:
    """Since the last line of the log; `loss` is this rank's, the rest is known to every rank."""

    loss: float = 0.0
    rows: int = 0
    tokens: int = 0
    steps: int = 0
    padding: float = 0.0
    seconds: float = 0.0
    rate: float = 0.0

    def add(self, rows: int, tokens: int, padding: float, seconds: float) -> None:
        self.rows += rows
        self.tokens += tokens
        self.steps += 1
        self.padding += padding
        self.seconds += seconds


def load_splits(job: Job) -> tuple[tokens.TokenStore, tokens.TokenStore]:
    """Training and validation rows: conversations are set apart by their hash, the same on every rank."""
    store = tokens.read(job.tokens, job.shards)
    return split(store, job.settings.validation_frac, job.settings.seed)


def split(store: tokens.TokenStore, frac: float, seed: int) -> tuple[tokens.TokenStore, tokens.TokenStore]:
    conversations = store.table.column("conversation_hash").to_pylist()
    chosen = held_out(conversations, frac, seed)
    apart = np.array([name in chosen for name in conversations], dtype=bool)
    return store.subset(np.flatnonzero(~apart)), store.subset(np.flatnonzero(apart))


def threshold_weights(settings: TrainSettings, labels: torch.Tensor) -> torch.Tensor | None:
    if settings.threshold_weights == "none":
        return None
    if settings.threshold_weights == "balanced":
        return balanced_weights(labels, settings.num_classes)
    return torch.tensor(settings.threshold_weights)


def _model(settings: TrainSettings, labels: torch.Tensor) -> tuple[Any, Any]:
    cutpoints = frequency_cutpoints(labels, settings.num_classes) if settings.cutpoint_start == "frequencies" else None
    model, tokenizer = new_model(
        settings.backbone,
        settings.head,
        settings.num_classes,
        cutpoints=cutpoints,
        trust_remote_code=settings.trust_remote_code,
        pad_token=settings.pad_token,
    )
    if model.cutpoints is not None and settings.cutpoint_freedom == "fixed":
        model.cutpoints.requires_grad_(False)
    backbone: Any = model.backbone
    if settings.freeze_embeddings:
        backbone.get_input_embeddings().requires_grad_(False)
    if settings.gradient_checkpointing:
        backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model, tokenizer


@torch.no_grad()
def evaluate(loop: Loop) -> dict[str, float]:
    """Validation metrics, equal on every rank: each scores its share, and all gather all."""
    store = loop.validation
    loop.engine.eval()
    shares = micro_batches(store.lengths, np.arange(len(store)), loop.world, loop.settings.micro_batch_tokens)
    mine: list[tuple[int, float, float]] = []
    for micro in shares[loop.rank]:
        losses_B, logits_BK = loop._forward(store, micro)
        scores = decode(loop.settings.head, logits_BK).score_B.tolist()
        if not micro.filler:
            mine += zip(micro.rows, scores, losses_B.tolist(), strict=True)
    gathered: list[Any] = [None] * loop.world
    dist.all_gather_object(gathered, mine)
    found_N3 = np.array(sorted(item for part in gathered for item in part))  # row, score, loss
    labels_N = store.labels[found_N3[:, 0].astype(np.int64)]
    return validation_metrics(found_N3[:, 1], labels_N, found_N3[:, 2], loop.settings.num_classes)
