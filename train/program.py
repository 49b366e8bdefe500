"""`wildreward train`: an ordinal reward model from WildFB rows, on Ray Train with DeepSpeed.

    wildreward train --config minilm --input runs/label --output runs/train
    python -m train --config qwen3-8b --input s3://bucket/label --output s3://bucket/train --address auto

Writes <output>/checkpoint (the best by validation, a Hugging Face directory), <output>/last, metrics.jsonl,
tensorboard/ and settings.yaml. The same command again continues a run that was stopped; a finished one does nothing.
"""

import json
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train import tokens
from wildreward import run_directory, storage
from wildreward.batching import steps_per_epoch
from wildreward.cluster import cluster
from wildreward.errors import CheckpointError, DataError, UsageError, WildrewardError
from wildreward.settings.train import TrainSettings
from wildreward.template import InputTemplate

OWNED = ("checkpoint", "last", "metrics.jsonl", "tensorboard", "tokens", "run")
FREE = frozenset({"cpus_per_worker", "threads", "worker_failures", "keep_state"})
RUN_NAME = "run"
SNAPSHOT = "checkpoint_manager_snapshot.json"


def run(settings: TrainSettings) -> None:
    """Train, or continue, or say that it is done. Raises WildrewardError."""
    settings.required()
    files = tokens.inspect(tokens.resolve(settings.input), settings.num_classes)
    backbone = open_backbone(settings)
    tokens.check_split("training", files)
    state = run_directory.open_run(settings, OWNED, FREE)
    if state == "done":
        print(f"train: {settings.output} is done already; --overwrite trains again")
        _show(run_directory.facts(settings.output))
        return
    with cluster(settings.address):
        data = prepare(settings, files, backbone, storage.join(settings.output, "tokens"))
        mend_snapshot(storage.join(settings.output, RUN_NAME))
        result = fit(settings, data, storage.join(settings.output, RUN_NAME))
        _finish(settings, data, result)


@dataclass(frozen=True)
class Backbone:
    """What the driver needs of it: no weights."""

    tokenizer: Any
    template: InputTemplate


@dataclass(frozen=True)
class Data:
    """Tokenised rows and the plan of steps over them."""

    template: InputTemplate
    directory: str
    shards: tuple[str, ...]
    labels: dict[int, int]
    training_rows: int
    validation_rows: int
    total_steps: int
    evaluate_every: int


def open_backbone(settings: TrainSettings) -> Backbone:
    """Tokenizer and template. Raises CheckpointError or UsageError for what could only fail later."""
    from transformers import AutoConfig

    from wildreward.minilm import model_directory
    from wildreward.pretrained import load_tokenizer
    from wildreward.reward_model import default_template

    tokenizer = load_tokenizer(settings.backbone, settings.trust_remote_code, settings.pad_token)
    try:
        config = AutoConfig.from_pretrained(
            model_directory(settings.backbone), trust_remote_code=settings.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"--backbone {settings.backbone}: its config cannot be loaded: {error}") from error
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and settings.max_tokens > positions:
        raise UsageError(
            f"--max-tokens {settings.max_tokens}: {settings.backbone} has {positions} positions; at most {positions}"
        )
    if settings.template == "auto":
        return Backbone(tokenizer, default_template(tokenizer, settings.max_tokens))
    if settings.template == "chat" and not getattr(tokenizer, "chat_template", None):
        raise UsageError(f"--template chat: the tokenizer of {settings.backbone} has no chat template; use plain")
    return Backbone(tokenizer, InputTemplate(max_tokens=settings.max_tokens, kind=settings.template))


def prepare(settings: TrainSettings, files: Sequence[tokens.SourceFile], backbone: Backbone, directory: str) -> Data:
    """Tokenise what is not tokenised yet and count the steps. Raises DataError when the input has changed."""
    from train.worker import split

    plan = tokens.shards("train", files)
    _same_source(directory, plan)
    tokens.tokenise(plan, directory, backbone.template, backbone.tokenizer)
    names = tuple(shard.name for shard in plan)
    training, validation = split(tokens.read(directory, names), settings.validation_frac, settings.seed)
    for name, store in (("training", training), ("validation", validation)):
        if len(set(store.labels.tolist())) < 2 and (store is training or settings.validation_frac > 0):
            raise DataError(
                f"the {name} rows have {len(set(store.labels.tolist()))} classes in {len(store)} rows after "
                f"validation_frac={settings.validation_frac}; at least two are needed"
            )
    total = settings.max_steps or math.ceil(settings.epochs * steps_per_epoch(len(training), settings.batch_rows))
    return Data(
        template=backbone.template,
        directory=directory,
        shards=names,
        labels=dict(sorted(Counter(training.labels.tolist()).items())),
        training_rows=len(training),
        validation_rows=len(validation),
        total_steps=total,
        evaluate_every=settings.evaluate_every_steps or max(1, math.ceil(total / 4)),
    )


def _same_source(directory: str, plan: Sequence[tokens.Shard]) -> None:
    """Shards are taken over by name, so they must come from the same row groups."""
    path = storage.join(directory, "source.json")
    described = json.dumps([[shard.name, shard.rows, shard.pieces] for shard in plan])
    if storage.exists(path) and storage.read_text(path) != described:
        raise DataError(f"{directory}: --input has changed since the run began; use --overwrite or another --output")
    storage.write_text(path, described)


def fit(settings: TrainSettings, data: Data, run_path: str, callbacks: Sequence[Any] = (), save: bool = True) -> Any:
    """Run the Ray Train job, with progress and metrics.jsonl on this process. Returns its Result."""
    import ray
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    from train.journal import Scribe, journal_actor
    from train.worker import Job, train_worker

    gpu = use_gpu(settings)
    journal = journal_actor()
    job = Job(
        settings, data.template, data.directory, data.shards, data.total_steps, data.evaluate_every, journal, save
    )
    storage_path, name = run_path.rsplit("/", 1)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers, use_gpu=gpu, resources_per_worker=_resources(settings, gpu)
        ),
        run_config=_run_config(
            name=name,
            storage_path=storage_path if not storage.is_local(storage_path) else os.path.abspath(storage_path),
            failure_config=ray.train.FailureConfig(max_failures=settings.worker_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="select"),
            callbacks=list(callbacks),
            worker_runtime_env={"env_vars": {} if gpu else {"DS_ACCELERATOR": "cpu"}},
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        with Scribe(journal, os.path.dirname(run_path), data.total_steps):
            return trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise WildrewardError(
            f"{error}\ntraining failed; the same command continues from the last checkpoint"
        ) from error
    finally:
        ray.kill(journal)


def _run_config(**options: Any) -> Any:
    """Ray Train V2's RunConfig; `ray.train.RunConfig` is typed as that of V1, which knows fewer options."""
    import ray.train

    return ray.train.RunConfig(**options)


def use_gpu(settings: TrainSettings) -> bool:
    """Whether workers get a GPU each. Raises UsageError when they were asked for and the cluster has too few."""
    import ray

    available = ray.cluster_resources().get("GPU", 0)
    if settings.device == "gpu" and available < settings.workers:
        raise UsageError(f"--device gpu: workers={settings.workers} need a GPU each; the cluster has {available:.0f}")
    return settings.device != "cpu" and available >= settings.workers


def _resources(settings: TrainSettings, gpu: bool) -> dict[str, float]:
    return {"CPU": settings.cpus_per_worker} | ({"GPU": 1} if gpu else {})


def mend_snapshot(run_path: str) -> None:
    """Ray writes its list of checkpoints in place; a driver killed while it did leaves half a file, which it then
    refuses. Without the list the run starts from its beginning, with the same result."""
    path = storage.join(run_path, SNAPSHOT)
    if not storage.exists(path):
        return
    try:
        json.loads(storage.read_text(path))
    except ValueError:
        print(f"train: {path} was cut off; starting from step 0")
        storage.remove(run_path)


def _finish(settings: TrainSettings, data: Data, result: Any) -> None:
    """Publish the best and the last checkpoint, drop the sharded state, mark the run done."""
    checkpoint, metrics = max(result.best_checkpoints, key=lambda item: item[1]["select"])
    _publish(checkpoint, storage.join(settings.output, "checkpoint"))
    _publish(result.checkpoint, storage.join(settings.output, "last"))
    described = {
        "checkpoint": storage.join(settings.output, "checkpoint"),
        "best_step": metrics["step"],
        "last_step": result.metrics["step"],
        "total_steps": data.total_steps,
        "training_rows": data.training_rows,
        "training_labels": data.labels,
        "validation_rows": data.validation_rows,
        "validation": {name: value for name, value in metrics.items() if name not in ("step", "evaluation", "select")},
        "selected_by": settings.select_by if data.validation_rows else "last step",
    }
    run_directory.finish(settings.output, described)
    if not settings.keep_state:
        storage.remove(storage.join(settings.output, RUN_NAME))
    _show(described)


def _publish(checkpoint: Any, target: str) -> None:
    """Copy the Hugging Face part of a checkpoint to `target`: complete under another name first, then renamed."""
    from train.worker import HF_FOLDER

    with checkpoint.as_directory() as directory:
        source = Path(directory) / HF_FOLDER
        if storage.is_local(target):
            final = Path(target)
            with tempfile.TemporaryDirectory(dir=final.parent, prefix=".publish-") as temporary:
                copied = shutil.copytree(source, Path(temporary) / "copy")
                shutil.rmtree(final, ignore_errors=True)
                copied.rename(final)
            return
        for path in sorted(source.rglob("*")):
            storage.write_bytes(storage.join(target, str(path.relative_to(source))), path.read_bytes())


def _show(described: dict[str, Any]) -> None:
    rows = {
        "checkpoint": described["checkpoint"],
        "steps": f"best {described['best_step']}, last {described['last_step']} of {described['total_steps']}",
        "training rows": f"{described['training_rows']} by class {described['training_labels']}",
        "validation": f"{described['validation_rows']} rows apart, by conversation; best by {described['selected_by']}",
        **{f"  {name}": f"{value:.4f}" for name, value in described["validation"].items()},
    }
    for name, text in rows.items():
        print(f"{name:<14} {text}")
