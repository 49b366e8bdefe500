"""`wildreward train`: an ordinal reward model from WildFB rows, on Ray Train with DeepSpeed.

    wildreward train --config minilm --input runs/label --output runs/train
    python -m train --config llama3.1-8b --input s3://bucket/label --output s3://bucket/train --address auto

Writes <output>/checkpoint (the best by validation, a Hugging Face directory, calibrated), <output>/last (as trained),
report.html with its pictures in figures/, metrics.jsonl, tensorboard/ and settings.yaml. The same command again
continues a run that was stopped; a finished one does nothing.
"""

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train import tokens
from train.checkpoint_list import mend_list
from train.packed import is_packed
from wildreward import run_directory, storage, trackers
from wildreward.batching import steps_per_epoch
from wildreward.checkpoint import copy_checkpoint
from wildreward.cluster import stage_cluster
from wildreward.errors import CheckpointError, DataError, TrainingError, UsageError, WildrewardError
from wildreward.labelling import label_lines
from wildreward.resources import Ask, require, takes_gpus
from wildreward.settings.train import SELECT_MODES, TrainSettings
from wildreward.template import InputTemplate
from wildreward.validation import UNDEFINED

if TYPE_CHECKING:
    from train.calibrate import Calibrator

OWNED = (
    "checkpoint", "last", "metrics.jsonl", "report.html", "figures", "tensorboard", "tokens", "run", "wandb",
    trackers.RUNS,
)  # fmt: skip
RUN_NAME = "run"
POLL_INTERVAL_S = "0.25"
"""How often Ray Train's controller asks its workers. A report, so an evaluation, waits for it, and Ray's 2 s are longer
than a small model needs from one evaluation to the next."""

TOLD = {"calibration": "calibration_said", "report": "report"}


def run(settings: TrainSettings) -> None:
    """Train, or continue, or say that it is done. Raises WildrewardError."""
    settings.required()
    trackers.check(settings.track)
    files = tokens.inspect(tokens.resolve(settings.input), settings.labelling)
    backbone = open_backbone(settings)
    tokens.check_split("training", files)
    state = run_directory.open_run(settings, OWNED)
    if state == "done":
        print(f"train: {settings.output} is done already; --overwrite trains again")
        _show(run_directory.facts(settings.output))
        return
    for line in label_lines(tokens.counts_of(files), settings.labelling):
        print(f"train: {line}")
    with stage_cluster("train", settings):
        worker = _resources(settings, use_gpu(settings))
        require("train", [Ask("training worker", settings.workers, worker)])
        data = prepare(settings, files, backbone, storage.join(settings.output, "tokens"))
        mend_list(storage.join(settings.output, RUN_NAME))
        result = _fit(settings, data, storage.join(settings.output, RUN_NAME))
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

    from wildreward.lora import check_targets
    from wildreward.minilm import model_directory
    from wildreward.pretrained import load_tokenizer, positions
    from wildreward.reward_model import default_template

    tokenizer = load_tokenizer(settings.backbone, settings.trust_remote_code, settings.pad_token)
    try:
        config = AutoConfig.from_pretrained(
            model_directory(settings.backbone), trust_remote_code=settings.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"--backbone {settings.backbone}: its config cannot be loaded: {error}") from error
    is_packed(settings, config)  # refused here, before anything starts
    limit = positions(config)
    if limit is not None and settings.max_tokens > limit:
        raise UsageError(
            f"--max-tokens {settings.max_tokens}: {settings.backbone} has {limit} positions; at most {limit}"
        )
    if settings.lora_rank:
        check_targets(settings, config)
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
    training, validation = split(tokens.read(directory, names, settings.labelling), settings)
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


def _fit(settings: TrainSettings, data: Data, run_path: str) -> Any:
    try:
        return fit(settings, data, run_path)
    except TrainingError as error:
        raise TrainingError(f"{error}. Nothing of it was saved; earlier checkpoints are in {run_path}") from error


def fit(settings: TrainSettings, data: Data, run_path: str, callbacks: Sequence[Any] = (), save: bool = True) -> Any:
    """Run the Ray Train job, with progress and metrics.jsonl on this process. Returns its Result."""
    import ray
    import ray.train
    from ray.train.torch import TorchConfig

    from train.journal import Scribe, journal_actor
    from train.sinks import sinks
    from train.trainer import Trainer
    from train.worker import Job, train_worker

    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", POLL_INTERVAL_S)
    gpu = use_gpu(settings)
    journal = journal_actor()
    job = Job(
        settings,
        data.template,
        data.directory,
        data.shards,
        data.total_steps,
        data.evaluate_every,
        journal,
        save,
        run_path,
    )
    storage_path, name = run_path.rsplit("/", 1)
    trainer = Trainer(
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
        output = os.path.dirname(run_path)
        with sinks(settings, output) as opened, Scribe(journal, output, data.total_steps, opened):
            result = trainer.fit()
            if refusal := ray.get(journal.refusal.remote()):
                raise TrainingError(refusal)
            return result
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
    """Whether workers get a GPU each; `resources.require` says whether the cluster can give them."""
    return takes_gpus(settings.device, settings.workers)


def _resources(settings: TrainSettings, gpu: bool) -> dict[str, float]:
    return {"CPU": settings.cpus_per_worker} | ({"GPU": 1} if gpu else {})


def _finish(settings: TrainSettings, data: Data, result: Any) -> None:
    """Publish the best and the last checkpoint and the report, drop the sharded state, mark the run done."""
    from wildreward.calibration_report import in_words, write_report
    from wildreward.train_report import train_report

    _export(settings, data, result.checkpoint, "last")
    best, metrics = max(result.best_checkpoints, key=lambda item: item[1]["select"])
    if metrics["select"] == UNDEFINED:
        raise TrainingError(
            f"select_by {settings.select_by}: undefined at every evaluation, so no checkpoint is the best: all scores "
            f"of the validation rows are alike. The last is in {settings.output}/last; --overwrite trains again, with "
            "another select_by (mae and loss are always defined)"
        )
    calibrator = _calibrator(settings, data)
    target = _export(settings, data, best, "checkpoint", calibrator)
    described = {
        "checkpoint": target,
        "best_step": metrics["step"],
        "last_step": result.metrics["step"],
        "total_steps": data.total_steps,
        "training_rows": data.training_rows,
        "training_labels": data.labels,
        "validation_rows": data.validation_rows,
        "validation": {name: metrics.get(name) for name in SELECT_MODES} if data.validation_rows else {},
        "selected_by": settings.select_by if data.validation_rows else "last step",
        "calibration": calibrator.calibration.to_config(),
        "calibration_said": in_words(calibrator.calibration),
        "report": storage.join(settings.output, "report.html"),
    }
    lines = storage.read_text(storage.join(settings.output, "metrics.jsonl")).splitlines()
    history = [json.loads(line) for line in lines]
    found = calibrator.calibration, calibrator.measured
    write_report(settings.output, train_report(described, history, settings.model_dump(mode="json"), *found))
    run_directory.finish(settings.output, described)
    if not settings.keep_state:
        storage.remove(storage.join(settings.output, RUN_NAME))
    _show(described)


def _calibrator(settings: TrainSettings, data: Data) -> "Calibrator":
    from train.calibrate import Calibrator, rows_apart
    from train.worker import split

    store = tokens.read(data.directory, data.shards, settings.labelling)
    return Calibrator(settings, rows_apart(store, settings), split(store, settings)[1])


def _export(
    settings: TrainSettings, data: Data, checkpoint: Any, name: str, calibrator: "Calibrator | None" = None
) -> str:
    """Publish a checkpoint of the run as <output>/`name`, calibrated where there is a calibrator; where it is."""
    target = storage.join(settings.output, name)
    with checkpoint.as_directory() as directory, _exported(settings, data.template, Path(directory)) as hf:
        if calibrator:
            calibrator.fit(Path(directory), hf)
        _publish(hf, target, calibrator.write if calibrator else None)
    return target


@contextmanager
def _exported(settings: TrainSettings, template: InputTemplate, directory: Path) -> Iterator[Path]:
    """The Hugging Face directory in a checkpoint of the run, an adapter merged into its backbone."""
    from train.saving import HF_FOLDER, writing
    from wildreward.lora import merge

    if not settings.lora_rank:
        yield directory / HF_FOLDER
        return
    with tempfile.TemporaryDirectory(prefix="wildreward-merged-") as made:
        with writing("the adapter merged into its backbone", made):
            merge(directory / HF_FOLDER, Path(made) / "hf", settings, template)
        yield Path(made) / "hf"


def _publish(hf: Path, target: str, adjust: Callable[[Path], None] | None = None) -> None:
    """Copy to `target`; `adjust` gets the copy before that. Raises CheckpointError when there is no room."""
    from train.saving import writing

    local = storage.is_local(target)
    with writing(target, Path(storage.plain(target)).parent if local else tempfile.gettempdir()):
        copy_checkpoint(hf, target, adjust)


def _show(described: dict[str, Any]) -> None:
    rows = {
        "checkpoint": described["checkpoint"],
        "steps": f"best {described['best_step']}, last {described['last_step']} of {described['total_steps']}",
        "training rows": f"{described['training_rows']} by class {described['training_labels']}",
        "validation": f"{described['validation_rows']} rows apart, by conversation; best by {described['selected_by']}",
        **{
            f"  {name}": "undefined" if value is None else f"{value:.4f}"
            for name, value in described["validation"].items()
        },
        # Absent where an earlier version finished the run.
        **{name: described[key] for name, key in TOLD.items() if key in described},
    }
    for name, text in rows.items():
        print(f"{name:<14} {text}")
