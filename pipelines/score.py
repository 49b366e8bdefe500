"""Score a parquet or JSONL file of conversations in batch.

    wildreward score --checkpoint runs/train/checkpoint --input replies.parquet --output runs/score
    python -m pipelines.score ...           the same, for `ray job submit --working-dir . -- ...`

A row holds `messages` (the last one is scored), or `prompt` (text or messages) and `response`, or a WildChat
`conversation` (its last assistant message is scored). Every input row has exactly one row in scores/*.parquet (columns:
pipelines/score_chunks.py), in the order of the input when parts are read by name; without a score it has an `error`.
Each part file is written whole or not at all: the same command continues where a killed run stopped.
"""

import json
import os
import sys
import time
from collections import Counter
from typing import Any

import pyarrow as pa

from pipelines.quiet_ray_data import quiet
from pipelines.score_chunks import ReadChunks, ScoreChunks
from pipelines.scorers import Placement, placed, source_of
from pipelines.scoring import map_options, named_failures
from wildreward import storage
from wildreward.cli import main
from wildreward.cluster import stage_cluster
from wildreward.errors import WildrewardError
from wildreward.logs import run_id
from wildreward.origin import changed, origin_of
from wildreward.progress import Progress
from wildreward.records import SUFFIXES, columns_of, count_rows
from wildreward.run_directory import finish, open_run
from wildreward.score_rows import check_columns
from wildreward.scorer import CheckpointScorer, ScorerSource
from wildreward.settings.score import ScoreSettings

PARTS, SUMMARY, ORIGIN = "scores", "summary.json", "origin.json"

_BLOCK_BYTES = 1 << 20
_READ_CPUS = 0.5
"""Not one: Ray Data would fuse reading into the actors, and models would wait for files."""


def run(settings: ScoreSettings) -> None:
    """Raises UsageError for a wrong input or checkpoint, DataError for a file that cannot be read."""
    started = time.monotonic()
    source = source_of(settings)
    files = storage.expand(settings.input, SUFFIXES)
    for path in files:
        check_columns(path, columns_of(path))
    state = open_run(settings, owned=(PARTS, SUMMARY, ORIGIN))
    of_files = isinstance(source, CheckpointScorer)
    if of_files:
        _check_origin(settings, files, new=state == "new")
    if state == "done":
        print(f"{settings.output}: already scored with these settings; --overwrite scores again")
        _report(json.loads(storage.read_text(storage.join(settings.output, SUMMARY))), settings.output)
        return
    with stage_cluster("score", settings):
        if not of_files:
            _check_origin(settings, files, new=state == "new", scorer=source.identity())
        rows, errors = _score_files(files, settings, *placed(settings, source))
    summary = {
        "run_id": run_id(),
        "files": len(files),
        "rows": rows,
        "scored": rows - sum(errors.values()),
        "errors": dict(sorted(errors.items())),
    }
    storage.write_text(storage.join(settings.output, SUMMARY), json.dumps(summary, indent=2) + "\n")
    finish(settings.output, summary)
    _report(summary | {"seconds": round(time.monotonic() - started)}, settings.output)


def _score_files(
    files: list[str], settings: ScoreSettings, source: ScorerSource, placement: Placement
) -> tuple[int, Counter[str]]:
    """Rows written, and how many of them for each reason have no score."""
    import ray.data

    context = quiet(ray.data.DataContext.get_current())
    context.target_max_block_size = _BLOCK_BYTES  # a chunk is on its way when it is read
    places = pa.table({"file": files, "index": range(len(files))})
    output = os.path.abspath(settings.output) if storage.is_local(settings.output) else settings.output
    parts = storage.join(output, PARTS)
    dataset = (
        ray.data.from_arrow([places.slice(index, 1) for index in range(len(files))])
        .map_batches(ReadChunks(settings.chunk_rows), batch_size=None, batch_format="pyarrow", num_cpus=_READ_CPUS)
        .map_batches(ScoreChunks, fn_constructor_args=(source, placement.threads, parts), **map_options(placement))
    )
    counts = [count_rows(path) for path in files]
    total = None if None in counts else sum(count or 0 for count in counts)
    done, errors = 0, Counter[str]()
    with Progress("scoring", total=total) as progress, named_failures():
        batch: Any  # "pyarrow" makes it a pa.Table
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            for written in batch.to_pylist():
                errors.update(json.loads(written["errors"]))
                done += written["rows"]
                progress.advance(written["rows"])
    return done, errors


def _check_origin(settings: ScoreSettings, files: list[str], new: bool, scorer: str | None = None) -> None:
    """Parts made from other files or another model must not be mixed with new ones. Raises WildrewardError."""
    path = storage.join(settings.output, ORIGIN)
    now = origin_of([*files, *(name for name in (settings.checkpoint, settings.template) if name)])
    if scorer:
        now["the scorer"] = scorer
    if not new and storage.exists(path):
        different = changed(json.loads(storage.read_text(path)), now)
        if different:
            raise WildrewardError(
                f"--output {settings.output}: {different[0]} has changed since these scores were begun; "
                "give another --output, or --overwrite"
            )
    storage.write_text(path, json.dumps(now, indent=2) + "\n")


def _report(summary: dict[str, Any], output: str) -> None:
    print(f"rows     {summary['rows']:,} in {summary['files']} files")
    print(f"scored   {summary['scored']:,}")
    for reason, count in summary["errors"].items():
        print(f"error    {count:,} {reason}")
    if "seconds" in summary:
        print(f"time     {summary['seconds']} s")
    print(f"scores   {storage.join(output, PARTS)}/*.parquet")


if __name__ == "__main__":
    raise SystemExit(main(["score", *sys.argv[1:]]))
