"""Pass 1 of `label`, the expensive one: conversations -> judged turns -> topics -> feedback/, as one streaming program.

Ray Data's row checkpoint records the `row_id` of every conversation whose block was written, so that the same command
after a kill -9 asks the judge only for the rest. Blocks are small, because only written blocks are recorded.
"""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import ray
from ray.data import ActorPoolStrategy, DataContext, ExecutionResources
from ray.data._internal.execution.execution_callback import ExecutionCallback  # its public home does not export it yet
from ray.exceptions import RayTaskError

from pipelines.conversation_files import plan
from pipelines.conversation_source import ConversationDatasource
from pipelines.feedback_files import remove_leftovers, stamped
from pipelines.judge_desk import AtDesk, DeskWatch, open_desk
from pipelines.judging import JudgeTurns, cache_directory
from pipelines.quarantine_guard import quarantine_guard
from pipelines.quiet_ray_data import quiet, quiet_log
from pipelines.row_checkpoint import use_row_checkpoint
from pipelines.topics import MeasureTopics
from wildreward import storage
from wildreward.errors import JudgeError, WildrewardError
from wildreward.judge.cache import JudgeCache
from wildreward.judge.news import News
from wildreward.progress import Progress
from wildreward.schema import FEEDBACK
from wildreward.settings.label import LabelSettings

BLOCK_BYTES = 4 * 2**20
"""Blocks are `label_batch_rows` conversations, or less where these are long. A block is recorded as a whole: with Ray's
128 MiB nothing was recorded yet when a driver was killed."""

MIN_CPUS_FOR_RESERVED_ACTORS = 4
"""On fewer slots the actors reserve none: checkpoint filter, judge and topics would leave none to read and write."""

SLOTS_PER_EMBEDDER = 4
"""On more slots than this the topic stage grows to more actors while blocks wait for it."""

RETRY_ADVICE = "\nFailed to apply UDF transform"
"""What Ray appends to the message of an exception, with advice about settings of its own."""


def write_feedback(settings: LabelSettings, files: Sequence[str], checkpoint: str, run: str) -> News | None:
    """Judge every conversation of `files` that `checkpoint` does not list, and add it to feedback/.

    `run` names the output's run in the judge cache: whose account an answer is on. Returns what the judges had to say,
    where they are asked over HTTP. Raises JudgeError when the judge cannot be used, DataError when too much of the
    input cannot be read, WildrewardError for any other failure of ours in a worker.
    """
    parts = plan(files)
    feedback = storage.join(settings.output, "feedback")
    source = ConversationDatasource(parts, settings, quarantine_guard(settings))
    with (
        DataContext.current(_context(settings, absolute(checkpoint))),
        Progress("label: conversations judged") as progress,
    ):
        dataset = ray.data.read_datasource(source, override_num_blocks=len(parts))
        desk = open_desk(settings) if settings.judge == "openai" else None
        dataset = _judged(dataset, settings, run, desk)
        dataset.set_name("label")
        with _showing(progress, desk), plain_errors():
            dataset.write_parquet(
                absolute(feedback),
                arrow_parquet_args_fn=lambda: {"schema": stamped(FEEDBACK), "compression": "zstd"},
            )
        news = None if desk is None else ray.get(desk.news.remote())
    remove_leftovers(feedback)
    return news


def _judged(dataset: ray.data.Dataset, settings: LabelSettings, run: str, desk: Any) -> ray.data.Dataset:
    slots = min(ray.cluster_resources().get("CPU", 0), settings.max_cpus or math.inf)
    reserved = 1 if slots >= MIN_CPUS_FOR_RESERVED_ACTORS else 0
    open_blocks = max(2, -(-4 * settings.judge_concurrency // settings.label_batch_rows))
    judges = ActorPoolStrategy(
        size=settings.judge_actors,
        max_concurrent_calls_per_actor=open_blocks if settings.judge != "lexicon" else 1,
        max_tasks_in_flight_per_actor=2 * open_blocks,
    )
    dataset = dataset.repartition(target_num_rows_per_block=settings.label_batch_rows).map_batches(
        JudgeTurns,
        fn_constructor_args=(settings, run, _ready_cache(settings), None if desk is None else AtDesk(desk)),
        batch_size=settings.label_batch_rows if settings.judge_gpus_per_actor else None,  # with GPUs Ray wants a number
        batch_format="pyarrow",
        compute=judges,
        num_cpus=reserved if settings.judge == "lexicon" else 0,  # the others wait, for a network or for a GPU
        num_gpus=settings.judge_gpus_per_actor,
        udf_modifying_row_count=False,
    )
    if settings.hindsight_window_turns == 0:
        return dataset
    return dataset.map_batches(
        MeasureTopics,
        fn_constructor_args=(settings,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=max(1, int(slots) // SLOTS_PER_EMBEDDER)),
        num_cpus=reserved,
        udf_modifying_row_count=False,
    )


def _ready_cache(settings: LabelSettings) -> str | None:
    """The judge cache's directory, checked before anything is asked: writable, small files merged, bad ones named."""
    directory = cache_directory(settings)
    if directory is None:
        return None
    cache = JudgeCache(absolute(directory))
    cache.tidy()
    if cache.ignored:
        listed = "".join(f"\n  {path}: {why}" for path, why in cache.ignored.items())
        print(f"label: files ignored in the judge cache: {len(cache.ignored)}{listed}", file=sys.stderr)
    return cache.directory


def absolute(path: str) -> str:
    """Ray's workers have other working directories than the driver."""
    return os.path.abspath(path) if storage.is_local(path) else path


def _context(settings: LabelSettings, checkpoint: str) -> DataContext:
    context = quiet(DataContext.get_current().copy())
    if settings.max_cpus is not None:
        context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=settings.max_cpus)
    use_row_checkpoint(context, checkpoint)
    context.target_max_block_size = BLOCK_BYTES
    context.raise_original_map_exception = True  # else a JudgeError arrives as text inside another exception
    context.custom_execution_callback_classes = [_CountRows]
    return context


class _CountRows(ExecutionCallback):
    """Moves the progress on by what the judge stage has put out, and shows what the judges say.

    Ray makes the instance: hence the class attributes.
    """

    progress: ClassVar[Progress | None] = None
    watch: ClassVar[DeskWatch | None] = None

    def on_execution_step(self, executor: Any) -> None:
        if self.progress is None:
            return
        judged = [op for op in executor._topology if JudgeTurns.__name__ in op.name]
        done = sum(op.metrics.row_outputs_taken for op in judged)
        if done > self.progress.done:
            self.progress.advance(done - self.progress.done)
        if self.watch is not None:
            self.watch.look()


@contextmanager
def _showing(progress: Progress, desk: Any) -> Iterator[None]:
    _CountRows.progress = progress
    _CountRows.watch = None if desk is None else DeskWatch(desk, progress.say)
    try:
        yield
    finally:
        _CountRows.progress = _CountRows.watch = None


@contextmanager
def plain_errors() -> Iterator[None]:
    """Our own exceptions come out of a worker as themselves, and Ray Data does not print its frames before."""
    try:
        with quiet_log():
            yield
    except RayTaskError as error:
        cause = error.cause
        said = str(cause).partition(RETRY_ADVICE)[0]
        if isinstance(cause, JudgeError):
            raise JudgeError(f"{said}\nWhat was judged is kept: run the same command again to continue.") from None
        if isinstance(cause, WildrewardError):
            raise type(cause)(said) from None
        raise
