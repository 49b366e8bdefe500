"""Batch scoring on a Ray cluster: actors that each hold a reward model, fed by Ray Data."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.quiet_ray_data import quiet, quiet_log
from pipelines.scorers import Placement
from wildreward.batching import token_batches
from wildreward.errors import WildrewardError
from wildreward.progress import Progress
from wildreward.schema import MESSAGES
from wildreward.score_cache import FLUSH_S, KEPT, LASTING_ERRORS, ScoreCache
from wildreward.score_table import scored_columns
from wildreward.scorer import Conversation, Scorer, ScorerSource, Unscored, score_each

if TYPE_CHECKING:
    import ray.data

_MODEL, _IS_KEPT = "model", "is_kept"
_BATCHES_PER_BLOCK = 4
_CHARS_PER_TOKEN = 4
_BLOCK_ROWS = 4096
_BLOCKS_PER_REPLICA = 2
"""A block of texts of like length fills a few forward passes: enough that their padding is small, little enough that
replicas end together and that a killed run has little to repeat."""


def load_on_worker(source: ScorerSource, threads: int) -> Scorer:
    """Called in the actors: Ray gives a worker one thread unless told otherwise."""
    import torch

    torch.set_num_threads(threads)
    return source.load()


class ScoreReplies:
    """Ray Data actor: rows with `key` and `messages` in, the key and the score (columns KEPT) out.

    A block that took long is kept here, before it is handed on; quick ones are kept together where they arrive.
    """

    def __init__(self, source: ScorerSource, threads: int, cache: ScoreCache, long_s: float) -> None:
        self.scorer = load_on_worker(source, threads)
        self.cache, self.long_s = cache, long_s
        self.description = json.dumps(describe(self.scorer))

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.monotonic()
        rows = scored_columns(score_each(self.scorer, batch.column("messages").to_pylist()))
        block = rows.add_column(0, "key", batch.column("key"))
        is_kept = time.monotonic() - started >= self.long_s
        if is_kept:
            self.cache.add(block)
            self.cache.flush()
        block = block.append_column(_IS_KEPT, pa.array([is_kept] * batch.num_rows))
        return block.append_column(_MODEL, pa.array([self.description] + [None] * (batch.num_rows - 1), pa.string()))


def describe(scorer: Scorer) -> dict[str, Any]:
    """What the scorer says of itself, if it says anything."""
    return getattr(scorer, "describe", lambda: {"scorer": type(scorer).__name__})()


def score_conversations(
    keys: Sequence[str],
    conversations: Sequence[Conversation],
    source: ScorerSource,
    placement: Placement,
    cache: ScoreCache,
) -> dict[str, Unscored]:
    """Score different conversations into the cache, the longest first; what is not kept there is returned by key.

    The texts lie in Ray's object store, which spills to disk. The cache must be a place that all nodes see.
    """
    import ray.data

    quiet(ray.data.DataContext.get_current())
    dataset = _by_length(keys, conversations, placement).map_batches(
        ScoreReplies, fn_constructor_args=(source, placement.threads, cache, FLUSH_S), **map_options(placement)
    )
    failed: dict[str, Unscored] = {}
    with Progress("scoring", total=len(keys)) as progress, named_failures(), closing_cache(cache):
        batch: Any  # "pyarrow" makes it a pa.Table
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            described = batch.column(_MODEL)[0].as_py()
            if described and progress.done == 0:
                cache.describe(json.loads(described))
            block = batch.select(KEPT.names)
            if not batch.column(_IS_KEPT)[0].as_py():
                cache.add(block)
            failed |= _not_kept(block)
            progress.advance(batch.num_rows)
    return failed


@contextmanager
def closing_cache(cache: ScoreCache) -> Iterator[None]:
    """What is done is kept, whatever happens to the rest."""
    try:
        yield
    finally:
        cache.flush()


def _not_kept(block: pa.Table) -> dict[str, Unscored]:
    errors = block.filter(pc.is_valid(block.column("error")))
    return {
        row["key"]: Unscored(row["error"], row["error_detail"] or "")
        for row in errors.to_pylist()
        if row["error"] not in LASTING_ERRORS
    }


def map_options(placement: Placement) -> dict[str, Any]:
    """Arguments of `map_batches` for actors with a model. One CPU slot each: threads are set by us, not by slots."""
    import ray.data

    compute = ray.data.ActorPoolStrategy(size=placement.replicas, max_tasks_in_flight_per_actor=2)
    gpus = {"num_gpus": placement.gpus} if placement.gpus else {}
    return {"batch_size": None, "batch_format": "pyarrow", "compute": compute, "num_cpus": 1, **gpus}


def _by_length(keys: Sequence[str], conversations: Sequence[Conversation], placement: Placement) -> "ray.data.Dataset":
    """Blocks of a few forward passes, or smaller ones where some replicas would get none."""
    import ray.data

    sizes = [sum(len(message["content"]) for message in messages) for messages in conversations]
    largest = _BATCHES_PER_BLOCK * _CHARS_PER_TOKEN * placement.batch_tokens
    fair = sum(sizes) // (_BLOCKS_PER_REPLICA * placement.replicas)
    schema = pa.schema([("key", pa.string()), ("messages", MESSAGES)])
    blocks = [
        pa.Table.from_pylist([{"key": keys[i], "messages": conversations[i]} for i in block], schema)
        for block in blocks_by_length(sizes, min(largest, fair))
    ]
    return ray.data.from_arrow(blocks)


def blocks_by_length(sizes: Sequence[int], block_size: int) -> list[list[int]]:
    """Positions in blocks of like size, the longest first, none over `block_size` with padding unless it is one alone.

    >>> blocks_by_length([1, 9, 2, 8], block_size=18)
    [[1, 3], [2, 0]]
    """
    blocks = token_batches(sizes, block_size)
    return [block[at : at + _BLOCK_ROWS] for block in blocks for at in range(0, len(block), _BLOCK_ROWS)]


@contextmanager
def named_failures() -> Iterator[None]:
    """Our own exceptions come out of the actors as themselves, and Ray Data does not print its frames before."""
    import ray

    try:
        with quiet_log():
            yield
    except ray.exceptions.RayError as error:
        raise plain_error(str(error)) from error


def plain_error(trace: str) -> WildrewardError:
    """The error of ours that a trace from an actor ends with, or else the one it begins with; one raised while an actor
    starts arrives as text alone.

    >>> plain_error("Traceback ...\\nwildreward.errors.CheckpointError: x: no weights")
    CheckpointError('x: no weights')
    >>> cause = "\\n\\nThe above exception was the direct cause of the following exception:\\n\\n"
    >>> plain_error(f"OSError: cut off{cause}wildreward.errors.CheckpointError: x: cut off{cause}ray.Error: died")
    CheckpointError('x: cut off')
    >>> plain_error(f"Traceback ...\\nMemoryError: too much{cause}ray.Error: died")
    WildrewardError('MemoryError: too much')
    """
    causes = trace.split("\n\nThe above exception was the direct cause")
    classes: list[type[WildrewardError]] = [WildrewardError, *WildrewardError.__subclasses__()]
    own = {cls.__name__: cls for cls in classes}
    ours = re.compile(rf"^wildreward\.errors\.({'|'.join(own)}): (.*)", re.MULTILINE | re.DOTALL)
    for cause in reversed(causes):
        if found := ours.search(cause):
            return own[found[1]](found[2].strip())
    cause = causes[0]
    named = list(re.finditer(r"^(?:\w+\.)*[A-Z]\w*: ", cause, re.MULTILINE))
    if named:
        return WildrewardError(cause[named[-1].start() :].strip())
    lines = [line for line in cause.splitlines() if line.strip()]
    return WildrewardError(lines[-1] if lines else "an actor failed without a message")
