"""Measure a reward model on test splits, preference pairs, ratings and benchmarks, with intervals and baselines.

    wildreward evaluate --checkpoint runs/train/checkpoint --input runs/label pairs/*.parquet --output runs/evaluate
    python -m pipelines.evaluate ...        the same, for `ray job submit --working-dir . -- ...`

What scores is a checkpoint (ours, or any scalar Hugging Face reward model), a running scorer by --url or --handle, or a
--callable. Each file is recognised by its columns (wildreward/benchmarks/). Every different text is scored once and
kept in --score-cache by model and content: a killed run goes on where it stopped, and the same model with other
settings of the metrics, or other files with the same texts, scores nothing twice. With --baseline a second model is
compared on the same items. Memory: the texts and rows of all sets, and about 150 bytes a text for its score.

Written: results.json (keys: wildreward/evaluation.py), items/SET.parquet (every row with its scores, or why it was
skipped; ids, no texts), report.html, settings.yaml, score_cache/; baseline/ where a checkpoint was the baseline.
"""

import sys
import time
from contextlib import nullcontext

from pipelines.cached_scoring import CACHE, CachedScoring
from wildreward import storage
from wildreward.benchmarks.inputs import read_sets
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.cli import main
from wildreward.comparison import Comparison, compare
from wildreward.comparison_tables import print_comparison
from wildreward.errors import CheckpointError, UsageError
from wildreward.evaluation import Evaluation, evaluate, fresh_copies
from wildreward.evaluation_console import print_evaluation
from wildreward.evaluation_files import REPORT, RESULTS, Evaluated, is_evaluation, read_evaluation, write_evaluation
from wildreward.reference_results import print_references
from wildreward.run_directory import finish, open_run
from wildreward.settings.evaluate import EvaluateSettings

BASELINE = "baseline"
OWNED = ("results.json", "report.html", "items", CACHE, BASELINE)
MEASURING = {
    "bootstrap", "confidence", "seed", "calibration_bins", "group_by", "downstream", "baseline", "score_cache",
}  # fmt: skip
"""Settings that change what is said of the scores and not the scores: free on an output that is there."""


def run(settings: EvaluateSettings) -> None:
    """Raises UsageError for a wrong input or scorer, DataError for a set with nothing to evaluate."""
    started = time.monotonic()
    scoring = CachedScoring(settings)
    earlier, second = _baseline(settings)
    sets = read_sets(settings.input, settings.downstream)
    open_run(settings, owned=OWNED, free={"batch_tokens", *MEASURING})
    options = MeasureOptions(
        settings.bootstrap, settings.confidence, settings.seed, settings.calibration_bins, settings.group_by
    )
    copies = fresh_copies(sets) if second else []
    with scoring, second or nullcontext():
        evaluation = evaluate(sets, scoring, options)
        if second:
            measured = evaluate(copies, second, options)
            where = storage.join(settings.output, BASELINE)
            write_evaluation(where, measured, second.description, options)
            earlier = Evaluated.of(f"baseline {second.settings.checkpoint}", measured)
    comparison = compare([earlier, Evaluated.of("model", evaluation)], options) if earlier else None
    write_evaluation(settings.output, evaluation, scoring.description, options, comparison)
    storage.write_text(storage.join(settings.output, "settings.yaml"), settings.to_yaml())
    finish(settings.output, {"sets": list(evaluation.results)})
    _show(settings, evaluation, comparison, scoring, time.monotonic() - started)


def _baseline(settings: EvaluateSettings) -> "tuple[Evaluated | None, CachedScoring | None]":
    """The second model: an evaluation that is there, or a scorer. Raises UsageError."""
    if not settings.baseline:
        return None, None
    if is_evaluation(settings.baseline):
        return read_evaluation(settings.baseline), None
    other = {"checkpoint": settings.baseline, "url": None, "handle": None, "callable": None, "template": None}
    try:
        second = CachedScoring(settings.model_copy(update=other))
        second.source.identity()  # a hub id that is none is told before the model has scored everything
    except (UsageError, CheckpointError) as error:
        raise UsageError(f"--baseline {settings.baseline}: neither an evaluation nor a checkpoint: {error}") from error
    return None, second


def _show(
    settings: EvaluateSettings,
    evaluation: Evaluation,
    comparison: Comparison | None,
    scoring: CachedScoring,
    seconds: float,
) -> None:
    if note := scoring.description.get("note"):
        print(f"note: {note}\n")
    print_evaluation(evaluation, settings.confidence)
    print_references(evaluation)
    if comparison:
        print_comparison(comparison)
    texts = evaluation.texts
    found = texts["scored_once"] + texts["not_scored"] - scoring.scored
    kept = f"; {found:,} were found in the cache" if found else ""
    tokens = f" ({texts['tokens']:,} tokens)" if texts["tokens"] else ""
    what = f"{texts['scored_once']:,} different replies with scores{tokens}"
    print(f"\n{what} in {seconds:.0f} s{kept}")
    for word, file in (("results", RESULTS), ("report ", REPORT)):
        print(f"{word}  {storage.join(settings.output, file)}")


if __name__ == "__main__":
    raise SystemExit(main(["evaluate", *sys.argv[1:]]))
