"""Evaluations side by side: every metric on the same items, with paired differences and what they allow to be said.

    wildreward compare runs/evaluate-a runs/evaluate-b --output runs/compare

The first is what the others are compared with. Nothing is scored: the items of each evaluation are read. Written, with
--output: comparison.json (keys: wildreward/comparison.py) and comparison.html.
"""

import json
import sys

from wildreward import storage
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.cli import main
from wildreward.comparison import compare, comparison_json
from wildreward.comparison_tables import comparison_html, print_comparison
from wildreward.evaluation_files import names_of, read_evaluation
from wildreward.settings.compare import CompareSettings

JSON, PAGE = "comparison.json", "comparison.html"


def run(settings: CompareSettings) -> None:
    """Raises UsageError for what is no evaluation, DataError where two have nothing in common."""
    names = names_of(settings.results)
    evaluated = [read_evaluation(path, name) for path, name in zip(settings.results, names, strict=True)]
    options = MeasureOptions(
        settings.bootstrap, settings.confidence, settings.seed, settings.calibration_bins, settings.group_by
    )
    comparison = compare(evaluated, options)
    print_comparison(comparison)
    if settings.output:
        text = json.dumps(comparison_json(comparison, options), indent=2, ensure_ascii=False)
        storage.write_text(storage.join(settings.output, JSON), text + "\n")
        storage.write_text(storage.join(settings.output, PAGE), comparison_html(comparison, names))
        print(f"\nwritten  {storage.join(settings.output, JSON)}\nreport   {storage.join(settings.output, PAGE)}")


if __name__ == "__main__":
    raise SystemExit(main(["compare", *sys.argv[1:]]))
