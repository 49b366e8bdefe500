"""`label --dry-run`: the whole input through the reader of a real run, counted block by block where it is read.

    python -m pipelines.label --input chats/ --dry-run --judge openai --judge-model NAME \\
        --usd-per-million-input 0.15 --usd-per-million-output 0.6

A block becomes one row of counts: neither the driver nor a worker holds more than a block.
"""

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext

from pipelines.conversation_files import plan
from pipelines.conversation_source import ConversationDatasource
from pipelines.feedback import plain_errors
from pipelines.judging import turn_text
from pipelines.quiet_ray_data import quiet
from wildreward.dry_run import Questions, report
from wildreward.judge.prompts import feedback_messages, refusal_messages
from wildreward.judge.tokens import TokenCounter, load_counter
from wildreward.progress import Progress
from wildreward.refusals import looks_like_refusal
from wildreward.settings.label import LabelSettings

COUNTS = pa.schema([("counts", pa.string())])


def estimate(settings: LabelSettings, files: Sequence[str]) -> str:
    """The table of a dry run. Raises UsageError when judge_tokenizer cannot be loaded."""
    counted = "" if settings.judge == "lexicon" else _counter(settings.judge_tokenizer, settings.judge_model).about
    return report(count_questions(settings, files), settings, counted)


def count_questions(settings: LabelSettings, files: Sequence[str]) -> Questions:
    """Read all of the input that a run with these settings would read."""
    parts = plan(files)
    context = quiet(DataContext.get_current().copy())
    found = Questions()
    with DataContext.current(context), Progress("label: conversations read") as progress, plain_errors():
        dataset = ray.data.read_datasource(ConversationDatasource(parts, settings), override_num_blocks=len(parts))
        counts = dataset.map_batches(
            _count_block, fn_args=(settings,), batch_size=None, batch_format="pyarrow", udf_modifying_row_count=True
        )
        for row in counts.iter_rows():
            part = Questions.from_row(json.loads(row["counts"]))
            found.merge(part)
            progress.advance(part.conversations.total())
    return found


def _count_block(block: pa.Table, settings: LabelSettings) -> pa.Table:
    rows = block.select(["row_id", "status", "reason", "messages", "turns"]).to_pylist()
    return pa.table({"counts": [json.dumps(_count(rows, settings).as_row())]}, schema=COUNTS)


def _count(rows: Sequence[Mapping[str, Any]], settings: LabelSettings) -> Questions:
    bad = "quarantined"
    outcomes = (f"{bad}: {row['reason']}" if row["status"] == bad else row["status"] for row in rows)
    texts = [turn_text(row, turn) for row in rows for turn in row["turns"] or ()]
    refusals = [text for text in texts if settings.refusal_validation and _looks_like_refusal(text.response, settings)]
    found = Questions(Counter(outcomes), turns=len(texts), refusal_like=len(refusals))
    if settings.judge != "lexicon":
        tokens, shown = _counter(settings.judge_tokenizer, settings.judge_model), settings.judge_history_turns
        found.prompt_tokens = sum(tokens.count([feedback_messages(text, shown) for text in texts]))
        found.refusal_prompt_tokens = sum(tokens.count([refusal_messages(text, shown) for text in refusals]))
    return found


def _looks_like_refusal(response: str, settings: LabelSettings) -> bool:
    return looks_like_refusal(response, settings.refusal_max_chars, settings.refusal_opening_chars)


@functools.cache
def _counter(tokenizer: str | None, model: str | None) -> TokenCounter:
    """One for all blocks that a process counts."""
    return load_counter(tokenizer, model)
