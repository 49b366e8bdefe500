"""Measure a reward model on a test split, preference pairs and rated replies, with intervals and baselines.

    wildreward evaluate --checkpoint runs/train/checkpoint --input runs/label pairs/*.parquet --output runs/evaluate
    python -m pipelines.evaluate ...        the same, for `ray job submit --working-dir . -- ...`

Each file is recognised by its columns (wildreward/benchmarks/). Written: results.json (keys: wildreward/evaluation.py),
items/SET.parquet (every row with its scores, or why it was skipped; ids, no texts), report.html, settings.yaml.
"""

import json
import sys
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.scoring import check_checkpoint, placed, score_conversations
from wildreward import storage
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.inputs import read_sets
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.cli import main
from wildreward.cluster import cluster
from wildreward.evaluation import Evaluation, evaluate, results_json
from wildreward.evaluation_console import print_evaluation
from wildreward.evaluation_report import report_html
from wildreward.run_directory import finish, open_run
from wildreward.scorer import Conversation
from wildreward.settings.evaluate import EvaluateSettings

RESULTS, REPORT, ITEMS = "results.json", "report.html", "items"


def run(settings: EvaluateSettings) -> None:
    """Raises UsageError for a wrong input or checkpoint, DataError for a set with nothing to evaluate."""
    started = time.monotonic()
    check_checkpoint(settings)
    sets = read_sets(settings.input, settings.downstream)
    open_run(settings, owned=(RESULTS, REPORT, ITEMS), free={"replicas", "threads", "batch_tokens"})
    options = MeasureOptions(
        settings.bootstrap, settings.confidence, settings.seed, settings.calibration_bins, settings.group_by
    )
    description: dict[str, Any] = {}
    with cluster(settings.address):
        source, placement = placed(settings)

        def score_all(conversations: list[Conversation]) -> list[Any]:
            scores, described = score_conversations(conversations, source, placement)
            description.update(described)
            return scores

        evaluation = evaluate(sets, score_all, options)
    write(settings.output, evaluation, description, options)
    finish(settings.output, {"sets": list(evaluation.results)})
    print_evaluation(evaluation)
    texts, seconds = evaluation.texts, time.monotonic() - started
    print(f"\n{texts['scored_once']} different replies scored ({texts['tokens']:,} tokens) in {seconds:.0f} s")
    print(f"results  {storage.join(settings.output, RESULTS)}\nreport   {storage.join(settings.output, REPORT)}")


def write(output: str, evaluation: Evaluation, description: dict[str, Any], options: MeasureOptions) -> None:
    """items/, report.html and, last, results.json."""
    for name, (found, _) in evaluation.results.items():
        storage.write_bytes(storage.join(output, ITEMS, f"{name.replace('/', '-')}.parquet"), items_parquet(found))
    storage.write_text(storage.join(output, REPORT), report_html(evaluation, description, options))
    results = results_json(evaluation, description, options)
    storage.write_text(storage.join(output, RESULTS), json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def items_parquet(found: EvaluationSet) -> bytes:
    """All rows of a set, skipped ones included, under the union of their columns."""
    names = list(dict.fromkeys(name for item in found.items for name in item))
    columns = {name: pa.array([item.get(name) for item in found.items]) for name in names}
    texts = {name: column.cast(pa.string()) for name, column in columns.items() if pa.types.is_null(column.type)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns | texts), sink)
    return bytes(sink.getvalue())


if __name__ == "__main__":
    raise SystemExit(main(["evaluate", *sys.argv[1:]]))
