"""Batch scoring on a Ray cluster: actors that each hold a reward model, fed by Ray Data."""

import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wildreward import storage
from wildreward.errors import UsageError, WildrewardError
from wildreward.progress import Progress
from wildreward.schema import MESSAGES
from wildreward.scorer import CheckpointScorer, Conversation, Scorer, ScorerSource, Unscored, score_each
from wildreward.settings.scoring import ScoringSettings
from wildreward.template import FILE_NAME

if TYPE_CHECKING:
    import ray.data

    from wildreward.reward_model import Score

SCORED = [
    ("score", pa.float64()),  # between 1 and the number of classes; null where `error` is set
    ("probs", pa.list_(pa.float64())),
    ("uncertainty", pa.float64()),
    ("logit", pa.float64()),
    ("tokens", pa.int32()),
    ("prompt_tokens_cut", pa.int32()),
    ("response_tokens_cut", pa.int32()),
    ("error", pa.string()),
    ("error_detail", pa.string()),
]
_BLOCK_ROWS = 64


@dataclass(frozen=True)
class Placement:
    """How many copies of a model, and what each takes."""

    replicas: int
    gpus: float
    threads: int


def placed(settings: ScoringSettings) -> tuple[CheckpointScorer, Placement]:
    """The recipe of the model and its place on the connected cluster. Raises UsageError for cuda without a GPU."""
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0))
    device = ("cuda" if gpus else "cpu") if settings.device == "auto" else settings.device
    if device == "cuda" and not gpus:
        raise UsageError("--device cuda: the cluster has no GPU; allowed are auto and cpu")
    replicas = settings.replicas or (gpus if device == "cuda" else 1)
    threads = settings.threads or max(1, (os.cpu_count() or 1) // replicas)
    source = CheckpointScorer(
        _absolute(settings.checkpoint),
        settings.template and _absolute(settings.template),
        device,
        settings.dtype,
        settings.batch_tokens,
        settings.trust_remote_code,
    )
    return source, Placement(replicas, 1.0 if device == "cuda" else 0.0, threads)


def check_checkpoint(settings: ScoringSettings) -> None:
    """Raises UsageError for a checkpoint that looks like a path and is not there, before anything starts."""
    path = Path(settings.checkpoint)
    looks_local = path.is_absolute() or settings.checkpoint.startswith(".") or settings.checkpoint.count("/") != 1
    if not path.is_dir() and looks_local:
        raise UsageError(f"--checkpoint {settings.checkpoint}: no such directory")
    if path.is_dir() and not (path / "config.json").is_file():
        raise UsageError(f"--checkpoint {settings.checkpoint}: no config.json in it; not a reward model")
    if path.is_dir() and not settings.template and not (path / FILE_NAME).is_file():
        raise UsageError(f"--checkpoint {settings.checkpoint}: no {FILE_NAME} in it; give --template FILE")
    if settings.template and not storage.exists(settings.template):
        raise UsageError(f"--template {settings.template}: no such file")


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path


def load_on_worker(source: ScorerSource, threads: int) -> Scorer:
    """Called in the actors: Ray gives a worker one thread unless told otherwise."""
    import torch

    torch.set_num_threads(threads)
    return source.load()


class ScoreReplies:
    """Ray Data actor: rows with `messages` in, the same rows with their scores instead out."""

    def __init__(self, source: ScorerSource, threads: int) -> None:
        self.scorer = load_on_worker(source, threads)
        self.description = json.dumps(describe(self.scorer))

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = scored_columns(score_each(self.scorer, batch.column("messages").to_pylist()))
        described = pa.array([self.description, *[None] * (batch.num_rows - 1)], pa.string())
        return rows.append_column("position", batch.column("position")).append_column("model", described)


def describe(scorer: Scorer) -> dict[str, Any]:
    """What the scorer says of itself, if it says anything."""
    return getattr(scorer, "describe", lambda: {"scorer": type(scorer).__name__})()


def scored_columns(scores: "Sequence[Score | Unscored]") -> pa.Table:
    """One row a score, or an `error` and nothing else, in the columns SCORED."""
    rows = [
        {"error": score.reason, "error_detail": score.detail} if isinstance(score, Unscored) else dict(vars(score))
        for score in scores
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(SCORED))


def score_conversations(
    conversations: Sequence[Conversation], source: ScorerSource, placement: Placement
) -> tuple["list[Score | Unscored]", dict[str, Any]]:
    """A result for every conversation, in order, and the model's description. The longest are scored first."""
    quiet_ray_data()
    dataset = _by_length(conversations).map_batches(
        ScoreReplies, fn_constructor_args=(source, placement.threads), **map_options(placement)
    )
    found: dict[int, Score | Unscored] = {}
    description: dict[str, Any] = {}
    with Progress("scoring", total=len(conversations)) as progress, named_failures():
        batch: Any  # "pyarrow" makes it a pa.Table
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in batch.to_pylist():
                described = row.pop("model")
                description = json.loads(described) if described else description
                position = row.pop("position")
                found[position] = _score_of(row)
            progress.advance(batch.num_rows)
    return [found[position] for position in range(len(conversations))], description


def quiet_ray_data() -> None:
    """Our own progress line says enough: no execution plans and operator tables between them."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False


def map_options(placement: Placement) -> dict[str, Any]:
    """Arguments of `map_batches` for actors with a model. One CPU slot each: threads are set by us, not by slots."""
    import ray.data

    compute = ray.data.ActorPoolStrategy(size=placement.replicas, max_tasks_in_flight_per_actor=2)
    gpus = {"num_gpus": placement.gpus} if placement.gpus else {}
    return {"batch_size": None, "batch_format": "pyarrow", "compute": compute, "num_cpus": 1, **gpus}


def _by_length(conversations: Sequence[Conversation]) -> "ray.data.Dataset":
    import ray.data

    def size(position: int) -> int:
        return sum(len(message["content"] or "") for message in conversations[position])

    order = sorted(range(len(conversations)), key=size, reverse=True)
    schema = pa.schema([("position", pa.int64()), ("messages", MESSAGES)])
    blocks = [
        pa.Table.from_pylist(
            [{"position": i, "messages": conversations[i]} for i in order[at : at + _BLOCK_ROWS]], schema
        )
        for at in range(0, len(order), _BLOCK_ROWS)
    ]
    return ray.data.from_arrow(blocks)


def _score_of(row: dict[str, Any]) -> "Score | Unscored":
    from wildreward.reward_model import Score

    error, detail = row.pop("error"), row.pop("error_detail")
    return Unscored(error, detail or "") if error is not None else Score(**row | {"probs": tuple(row["probs"])})


@contextmanager
def named_failures() -> Iterator[None]:
    """Our own exceptions come out of the actors as themselves, and Ray Data does not print its frames before."""
    import ray

    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except ray.exceptions.RayError as error:
        raise plain_error(str(error)) from error
    finally:
        logger.setLevel(level)


def plain_error(trace: str) -> WildrewardError:
    """The error that a trace from an actor ends with; one raised while an actor starts arrives as text alone.

    >>> plain_error("Traceback ...\\nwildreward.errors.CheckpointError: x: no weights")
    CheckpointError('x: no weights')
    >>> plain_error("Traceback ...\\nMemoryError: too much")
    WildrewardError('MemoryError: too much')
    """
    classes: list[type[WildrewardError]] = [WildrewardError, *WildrewardError.__subclasses__()]
    own = {cls.__name__: cls for cls in classes}
    found = re.search(rf"^wildreward\.errors\.({'|'.join(own)}): (.*)", trace, re.MULTILINE | re.DOTALL)
    if found:
        return own[found[1]](found[2].strip())
    lines = [line for line in trace.splitlines() if line.strip()]
    return WildrewardError(lines[-1] if lines else "an actor failed without a message")
