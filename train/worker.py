"""What every Ray Train worker runs: the loop of an ordinal reward model, resumable at the exact micro-batch.

Everything random is a function of (seed, step, rank), so a run that was killed and started again repeats nothing and
ends with the weights of an undisturbed one. Tensors: B batch, K thresholds.
"""

import math
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from train import calibrate, packed, tokens
from train import engine as deepspeed_engine
from train.construction import build
from train.saving import save_rank
from train.speed import Speed
from wildreward import zero
from wildreward.batching import Batches, MicroBatch, Rows, micro_batches, padding_frac
from wildreward.cutpoints import refit_cutpoints
from wildreward.errors import TrainingError
from wildreward.holdout import held_out
from wildreward.ordinal import balanced_weights, decode, row_losses, soft_targets
from wildreward.pretrained import pad_id
from wildreward.schedule import learning_rate
from wildreward.settings.train import SELECT_MODES, TrainSettings
from wildreward.template import InputTemplate
from wildreward.validation import selection_value, undefined_note, validation_metrics


@dataclass(frozen=True)
class Job:
    """What the driver hands every worker. `total_steps` and `evaluate_every` are resolved from the settings, `run_path`
    is where Ray Train keeps the checkpoints."""

    settings: TrainSettings
    template: InputTemplate
    tokens: str
    shards: tuple[str, ...]
    total_steps: int
    evaluate_every: int
    journal: Any
    save: bool = True
    run_path: str = ""


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
    import ray

    job: Job = config["job"]
    try:
        loop = Loop(job)
        loop.resume()
        loop.run()
    except TrainingError as error:
        # Every rank sees it at the same step, and would again: Ray Train must not restart the workers.
        ray.get(job.journal.refuse.remote(str(error)))


class Loop:
    """One rank: its model shard, its data, and where it is."""

    def __init__(self, job: Job) -> None:
        import ray.train

        context = ray.train.get_context()
        self.job, self.settings, self.state = job, job.settings, State()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        torch.set_num_threads(self.settings.threads or max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
        torch.manual_seed(self.settings.seed)
        store = tokens.read(job.tokens, job.shards, self.settings.labelling)
        self.train, self.validation = split(store, self.settings)
        self.apart = calibrate.rows_apart(store, self.settings)
        self.model, self.tokenizer = build(self.settings, torch.from_numpy(self.train.labels))
        self.packed = packed.prepare(self.settings, self.model.backbone)
        self.batches = Batches(
            self.train.lengths, self.settings.batch_rows, self.settings.bucket_batches, self.settings.seed
        )
        self.engine = deepspeed_engine.initialise(self.model, self.settings)
        self.speed = Speed.of(self.model, self.engine.device, self.settings.dtype, self.world)
        self.weights_K = threshold_weights(self.settings, torch.from_numpy(self.train.labels))
        self.sums = _Sums()

    def resume(self) -> None:
        """Load the last checkpoint of this run, if there is one, and tell the journal where the run stands."""
        import ray.train

        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as directory:
                # A LoRA run keeps no frozen weights: those come from the backbone again.
                strict = not self.settings.lora_rank
                _, client = self.engine.load_checkpoint(directory, tag=zero.CHECKPOINT_TAG, load_module_strict=strict)
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
        rows = self.batches.of_step(step)
        shares = micro_batches(self.train.lengths, rows, self.world, settings.micro_batch_tokens, self.packed)
        rate = learning_rate(
            step,
            self.job.total_steps,
            settings.lr,
            kind=settings.lr_schedule,
            warmup_frac=settings.warmup_frac,
            min_frac=settings.min_lr_frac,
        )
        zero.set_learning_rate(self.engine, rate)
        self.engine.train()
        before = self.sums.loss
        for micro in shares[self.rank]:
            losses_B, _ = self._forward(self.train, micro)
            # DeepSpeed averages gradients over ranks; the loss is the mean over the rows of the whole batch.
            total = losses_B.sum() * (0.0 if micro.filler else 1.0)
            self.engine.backward(total * self.world / len(rows), scale_wrt_gas=False)
            self.sums.loss += float(total.detach())
        self._check_loss(self.sums.loss - before)
        self.sums.grad_norm = zero.step(self.engine)
        self.state.step += 1
        self._count(rows, shares, rate, time.monotonic() - started)

    def _check_loss(self, loss: float) -> None:
        """Raises TrainingError on every rank where the loss of one is not a number, before weights are touched."""
        total = torch.tensor([loss], dtype=torch.float64, device=self.engine.device)
        dist.all_reduce(total)
        zero.check_finite(float(total), f"the loss at step {self.state.step + 1}")

    def _count(self, rows: Rows, shares: list[list[MicroBatch]], rate: float, seconds: float) -> None:
        every = [micro for share in shares for micro in share]
        lengths = self.train.lengths[rows]
        padding = 0.0 if self.packed else padding_frac(self.train.lengths, every)
        self.state.tokens_seen += int(lengths.sum())
        self.sums.add(rows=len(rows), tokens=int(lengths.sum()), padding=padding, seconds=seconds)
        self.sums.flops += self.speed.flops(lengths)
        self.sums.rate = rate
        if self.rank == 0 and self.state.step % self.settings.log_every_steps:
            self.job.journal.add.remote({"kind": "tick", "step": self.state.step})

    def _forward(self, store: tokens.TokenStore, micro: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses (B,) and logits (B, K) of a micro-batch."""
        device, ids = self.engine.device, [store.input_ids(row) for row in micro.rows]
        logits_BK = self.engine(**packed.inputs(ids, self.packed, pad_id(self.tokenizer), device))
        targets_BK = soft_targets(torch.tensor(store.class_probs(micro.rows))).to(device)
        weights_K = None if self.weights_K is None else self.weights_K.to(device)
        losses_B = row_losses(self.settings.head, logits_BK, targets_BK, weights_K, self.settings.label_smoothing)
        return losses_B, logits_BK

    def _log(self) -> None:
        """Losses since the last line, over all ranks."""
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
            "grad_norm": sums.grad_norm,
            "tokens_per_s": round(sums.tokens / max(sums.seconds, 1e-9), 1),
            "padding_frac": round(sums.padding / max(sums.steps, 1), 4),
            "mfu": self.speed.share_of_peak(sums.flops, sums.seconds),
            "tokens": self.state.tokens_seen,
        }
        self._record(record)

    def _record(self, record: dict[str, Any]) -> None:
        self.state.history.append(record)
        self._tell(record)

    def _tell(self, record: dict[str, Any]) -> None:
        if self.rank == 0:
            history = {"history": self.state.history} if record["kind"] == "start" else {}
            self.job.journal.add.remote({**record, **history})

    def _evaluate_and_report(self) -> None:
        import ray.train

        nothing = np.empty((0, self.settings.num_classes - 1))
        found = evaluate(self) if len(self.validation) else Evaluation({}, self._cutpoints(), nothing)
        metrics = found.metrics
        select = self._select(metrics)
        better = self.state.best is None or select > self.state.best
        self.state.best = select if better else self.state.best
        self.state.evaluations_without_better = 0 if better else self.state.evaluations_without_better + 1
        if metrics:
            self._record({"kind": "validation", "step": self.state.step, **metrics})
        evaluation = -(-self.state.step // self.job.evaluate_every)
        report = {"step": self.state.step, "evaluation": evaluation, "select": select}
        if not self.job.save:
            # Ray Tune wants every metric, and takes NaN for the worst.
            ray.train.report(report | {name: math.nan if value is None else value for name, value in metrics.items()})
            return
        report |= {name: value for name, value in metrics.items() if value is not None}
        with tempfile.TemporaryDirectory(prefix="wildreward-") as directory:
            apart_NK = calibration_logits(self, found)
            if self.rank == 0:
                calibrate.save_logits(Path(directory), apart_NK)
            save_rank(self, Path(directory), found.cutpoints, report)

    def _select(self, metrics: Mapping[str, float | None]) -> float:
        """What this evaluation is ranked by; the latest is the best where nothing is measured."""
        if not metrics:
            return float(self.state.step)
        name = self.settings.select_by
        if metrics[name] is None and self.rank == 0:
            self._tell({"kind": "note", "step": self.state.step, "text": undefined_note(name, self.state.step)})
        return selection_value(metrics, name, SELECT_MODES[name])

    def _cutpoints(self) -> list[float] | None:
        return deepspeed_engine.cutpoints(self.engine)


@dataclass
class _Sums:
    """Since the last line of the log; `loss` is this rank's, the rest is known to every rank."""

    loss: float = 0.0
    rows: int = 0
    tokens: int = 0
    steps: int = 0
    padding: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0
    rate: float = 0.0
    grad_norm: float = 0.0

    def add(self, rows: int, tokens: int, padding: float, seconds: float) -> None:
        self.rows += rows
        self.tokens += tokens
        self.steps += 1
        self.padding += padding
        self.seconds += seconds


def split(store: tokens.TokenStore, settings: TrainSettings) -> tuple[tokens.TokenStore, tokens.TokenStore]:
    """Training and validation rows, by conversation and the same on every rank; calibrate.rows_apart are in neither.

    The same conversations whatever the class map: they are drawn from all rows, dropped ones too.
    """
    everyone = store.all_conversations()
    chosen = held_out(everyone, settings.validation_frac, settings.seed)
    kept = chosen | calibrate.names_apart(everyone, settings)
    names = store.conversations()
    training = np.array([name not in kept for name in names], dtype=bool)
    validation = np.array([name in chosen for name in names], dtype=bool)
    return store.subset(np.flatnonzero(training)), store.subset(np.flatnonzero(validation))


def threshold_weights(settings: TrainSettings, labels: torch.Tensor) -> torch.Tensor | None:
    if settings.threshold_weights == "none":
        return None
    if settings.threshold_weights == "balanced":
        return balanced_weights(labels, settings.num_classes)
    return torch.tensor(settings.threshold_weights)


@dataclass(frozen=True)
class Evaluation:
    """Of the validation rows, equal on every rank: metrics, the cutpoints they were measured with, and the logits."""

    metrics: dict[str, float | None]
    cutpoints: list[float] | None
    logits_NK: NDArray[np.float64]


def evaluate(loop: Loop) -> Evaluation:
    """Measure the validation rows, with cutpoints re-fitted to them where those are not learned."""
    store, settings = loop.validation, loop.settings
    logits_NK, cutpoints = torch.from_numpy(outputs(loop, store)), loop._cutpoints()
    targets_NK = soft_targets(torch.tensor(store.class_probs(range(len(store)))))
    if cutpoints is not None and settings.cutpoint_freedom == "refitted":
        values_N = logits_NK[:, 0] + cutpoints[0]
        zero.check_finite(float(values_N.sum()), "the sum of the validation scores")
        cutpoints = refit_cutpoints(values_N, targets_NK)
        logits_NK = values_N[:, None] - torch.tensor(cutpoints)
    losses_N = row_losses(settings.head, logits_NK, targets_NK, loop.weights_K, settings.label_smoothing)
    zero.check_finite(float(losses_N.sum()), "the validation loss")
    scores_N = decode(settings.head, logits_NK).score_B
    metrics = validation_metrics(
        scores_N.double().numpy(), store.labels, losses_N.double().numpy(), settings.num_classes
    )
    return Evaluation(metrics, cutpoints, logits_NK.double().numpy())


@torch.no_grad()
def outputs(loop: Loop, store: tokens.TokenStore) -> NDArray[np.float32]:
    """(N, K) logits of every row, in order, on every rank: each takes its share, and all gather all."""
    loop.engine.eval()
    limit = loop.settings.micro_batch_tokens
    shares = micro_batches(store.lengths, np.arange(len(store)), loop.world, limit, loop.packed)
    mine: list[tuple[int, list[float]]] = []
    for micro in shares[loop.rank]:
        _, logits_BK = loop._forward(store, micro)
        if not micro.filler:
            mine += zip(micro.rows, logits_BK.tolist(), strict=True)
    gathered: list[Any] = [None] * loop.world
    dist.all_gather_object(gathered, mine)
    found = sorted(item for part in gathered for item in part)
    return np.array([logits for _, logits in found], dtype=np.float32)


def calibration_logits(loop: Loop, found: Evaluation) -> NDArray[np.float64]:
    """(N, K) logits of the rows that the calibration is fitted on, with the cutpoints that are saved. Collective."""
    if not len(loop.apart):
        return found.logits_NK
    logits_NK, trained = outputs(loop, loop.apart).astype(np.float64), loop._cutpoints()
    if trained is None or found.cutpoints is None:
        return logits_NK
    return logits_NK + np.array(trained) - np.array(found.cutpoints)
