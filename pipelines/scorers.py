"""Which scorer the settings mean, and its place on the cluster: for every stage that scores."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from serve.served_scorer import ServedScorer
from wildreward.callable_scorer import CallableScorer
from wildreward.chat_template import read_chat_template
from wildreward.checkpoint import check_files
from wildreward.errors import UsageError
from wildreward.resources import Ask, gpus_now, require, takes_gpus
from wildreward.scorer import CheckpointScorer, ScorerSource
from wildreward.settings.scoring import ScoringSettings


@dataclass(frozen=True)
class Placement:
    """How many copies of a scorer, and what each takes. `batch_tokens` says how large its blocks of texts are."""

    replicas: int
    gpus: float
    threads: int
    batch_tokens: int


def source_of(settings: ScoringSettings) -> ScorerSource:
    """The recipe of the scorer; what can be wrong with it is found before anything starts. Raises UsageError."""
    if settings.chat_template and settings.checkpoint is None:
        raise UsageError("--chat-template: it is for --checkpoint")
    if settings.callable:
        if settings.template:
            raise UsageError("--template: it is for checkpoints and /get_reward URLs; a callable gets conversations")
        source = CallableScorer(settings.callable, os.getcwd())
        source.find()
        return source
    if settings.checkpoint is None:
        return ServedScorer.of(settings.url, settings.handle, settings.template)
    chat_source = read_chat_template(settings.chat_template)
    check_files(settings.checkpoint, settings.template, chat_source)
    return CheckpointScorer(
        _absolute(settings.checkpoint),
        settings.template and _absolute(settings.template),
        dtype=settings.dtype,
        batch_tokens=settings.batch_tokens,
        trust_remote_code=settings.trust_remote_code,
        calibrated=settings.calibrated,
        chat_source=chat_source,
    )


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path


def placed(settings: ScoringSettings, source: ScorerSource) -> tuple[ScorerSource, Placement]:
    """The recipe for the device it gets on the connected cluster, and its place there.

    A checkpoint takes the GPUs there are; a callable takes one a copy only with --device cuda; a running scorer none.
    Raises WildrewardError for cuda on a cluster that has no GPU and gets none.
    """
    device = "cpu" if settings.device == "auto" and not isinstance(source, CheckpointScorer) else settings.device
    on_gpu = takes_gpus(device) and not isinstance(source, ServedScorer)
    replicas = settings.replicas or (max(1, int(gpus_now())) if on_gpu else 1)
    threads = settings.threads or max(1, (os.cpu_count() or 1) // replicas)
    if isinstance(source, CheckpointScorer):
        source = replace(source, device="cuda" if on_gpu else "cpu")
    require("scoring", [Ask("copy of the scorer", replicas, {"CPU": 1, "GPU": 1.0 if on_gpu else 0.0})])
    return source, Placement(replicas, 1.0 if on_gpu else 0.0, threads, settings.batch_tokens)
