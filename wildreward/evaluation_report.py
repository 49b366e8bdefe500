"""report.html of an evaluation: what each set says in one line, then every metric beside its baselines, and pictures.

The page loads nothing from elsewhere and holds no text of the data. Which pictures a set gets is decided by what it has
(wildreward/evaluation_report_pictures.py), not by its kind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.benchmarks.measure import MeasureOptions, Metric
from wildreward.bootstrap import Estimate
from wildreward.comparison import Comparison
from wildreward.comparison_tables import add_comparison
from wildreward.evaluation import Evaluation, show, verdicts
from wildreward.evaluation_report_pictures import pictures
from wildreward.formatting import FEATURES
from wildreward.reference_results import add_references
from wildreward.report import Report

_SUMMARY = ("set", "rows", "metric", "model", "length alone", "model - length", "verdict")
_SAID_ELSEWHERE = {"direction_of_length", "confusion_axes"}
_SECTIONS = ("Quality", "Calibration", "Length", "Formatting")
_CALIBRATION = ("ece", "brier", "log_loss", "ranked_probability_score", "rating_calibration_error")


def report_html(
    evaluation: Evaluation,
    model: Mapping[str, Any],
    options: MeasureOptions,
    comparison: Comparison | None = None,
) -> str:
    """One self-contained page; no text of the data is on it."""
    report = Report("Evaluation of a reward model")
    results = evaluation.results
    report.table(_SUMMARY, [row for name, found in results.items() for row in _summary(name, *found)], "At a glance")
    skipped = [
        (name, reason, n, len(found.items))
        for name, (found, _) in results.items()
        for reason, n in found.skipped.items()
    ]
    if skipped:
        report.table(("set", "reason", "rows left out", "of"), skipped, "Rows that could not be used")
    report.text(
        f"Square brackets hold {options.confidence:.0%} bootstrap intervals ({options.replicates} resamples, drawn by "
        f"{options.group_by}). Baselines: length calls the longer reply better; random draws; constant is the best "
        "single answer. A difference is taken on the same resamples. Before calibration is the same model without it."
    )
    report.table(("", ""), [(name, str(value)) for name, value in model.items()], "The model", folded=True)
    add_references(report, evaluation)
    if comparison:
        report.heading("Comparison")
        add_comparison(report, comparison)
    for name, (found, result) in results.items():
        _set(report, name, found, result)
    return report.html()


def _summary(name: str, found: EvaluationSet, result: SetResult) -> Iterator[tuple[Any, ...]]:
    """One row for each headline metric."""
    for metric_name in result.headline:
        metric = result.metrics[metric_name]
        length = metric.baselines.get("length")
        yield (
            name,
            metric.count,
            _plain(metric_name),
            show(metric.estimate),
            show(length.estimate) if length else "",
            show(length.difference) if length else "",
            ", ".join(said for said in (*_marks(result), metric.against_chance, metric.against_length) if said),
        )


def _marks(result: SetResult) -> list[str]:
    """Notes as a word, such as PARTIAL; they stand in full where the set is described."""
    return [note.partition(",")[0] for note in result.notes]


def _set(report: Report, name: str, found: EvaluationSet, result: SetResult) -> None:
    report.heading(f"{name} ({found.kind})")
    for sentence in verdicts(result):
        report.text(sentence)
    skipped = ", ".join(f"{reason} {count}" for reason, count in found.skipped.items()) or "none"
    report.text(f"{len(found.items)} rows, {len(found.scored)} evaluated; skipped: {skipped}.")
    facts = _facts(result.extra)
    if facts:
        report.text(facts)
    for section in _SECTIONS:
        metrics = {key: metric for key, metric in result.metrics.items() if section_of(key) == section}
        if metrics:
            rows = [((_named(key, result.extra),), metric) for key, metric in metrics.items()]
            _metrics_table(report, ("metric",), rows, section)
        if section == _SECTIONS[0]:
            report.pictures(pictures(result))
    if result.subsets:
        by_subset = [
            ((subset, _plain(key)), metric)
            for subset, found_ in result.subsets.items()
            for key, metric in found_.items()
        ]
        _metrics_table(report, ("subset", "metric"), by_subset, "By subset")


def _facts(extra: Mapping[str, Any]) -> str:
    """The single values of a set's facts, and that position cannot matter."""
    shown = {key: value for key, value in extra.items() if key not in _SAID_ELSEWHERE}
    said = [f"{_plain(key)}: {value}" for key, value in shown.items() if isinstance(value, str | int | float)]
    said += [f"{_plain(key)}: {', '.join(value)}" for key, value in shown.items() if _is_names(value)]
    position = extra.get("position")
    if position:
        same = f"{position['consistent']} of {position['pairs']} pairs"
        said.append(f"position: replies are scored {position['scored']}, and {same} are decided alike in both orders")
    return "; ".join(said) + "." if said else ""


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def section_of(name: str) -> str:
    """Which table a metric stands in.

    >>> [section_of(name) for name in ("auc", "preference_ece", "labels_prefer_longer", "score_gain_of_more_bold")]
    ['Quality', 'Calibration', 'Length', 'Formatting']
    """
    bare = name.removeprefix("preference_")
    if any(bare == known or bare.startswith(f"{known}_") for known in _CALIBRATION):
        return "Calibration"
    if any(word in bare for word in (*FEATURES, "formatting")):
        return "Formatting"
    return "Length" if any(word in bare for word in ("length", "longer", "shorter")) else "Quality"


def _metrics_table(
    report: Report, names: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], Metric]], title: str
) -> None:
    """Columns that no metric of the table has are left out; all but the first table are folded."""
    columns = [
        (header, cell)
        for header, cell in _COLUMNS.items()
        if header in {"n", "model"} or any(cell(metric) for _, metric in rows)
    ]
    cells = [(*key, *(cell(metric) for _, cell in columns)) for key, metric in rows]
    report.table([*names, *(header for header, _ in columns)], cells, title, folded=title != _SECTIONS[0])


def _beside(who: str, part: str) -> Callable[[Metric], str]:
    """A baseline's "estimate", or "difference" from the model; empty where the metric has no such baseline."""
    return lambda metric: show(getattr(metric.baselines[who], part)) if who in metric.baselines else ""


def _value_of(who: str) -> Callable[[Metric], str]:
    return lambda metric: show(Estimate(metric.baselines[who].estimate.value)) if who in metric.baselines else ""


_COLUMNS: Mapping[str, Callable[[Metric], Any]] = {
    "n": lambda metric: metric.count,
    "model": lambda metric: show(metric.estimate),
    "length": _beside("length", "estimate"),
    "model - length": _beside("length", "difference"),
    "before calibration": _beside("before", "estimate"),
    "after - before": _beside("before", "difference"),
    "random": _value_of("random"),
    "constant": _value_of("constant"),
    "than chance": lambda metric: (metric.against_chance or "").removesuffix(" than chance"),
}


def _named(name: str, extra: Mapping[str, Any]) -> str:
    """A metric's name in words; the lowest of the subsets with the name of that subset."""
    return f"{_plain(name)} ({extra['min_subset']})" if name == "min_subset_accuracy" else _plain(name)


def _plain(name: str) -> str:
    return name.replace("_", " ")
