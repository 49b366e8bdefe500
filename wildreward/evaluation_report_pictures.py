"""Which pictures a set gets: each is drawn where the set has what it shows, whatever kind of set it is.

A curve or histogram under a name listed here in `extra.curves` or `extra.histograms` (wildreward/benchmarks/curves.py),
or the metrics a bar chart is made of, is enough: a new benchmark that has margins has the pictures of margins. What a
rated set says of its users' choices has the same names after "preference_".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wildreward import evaluation_report_drawing as draw
from wildreward.benchmarks.evaluation_set import SetResult
from wildreward.benchmarks.measure import Metric
from wildreward.bootstrap import MIN_GROUPS
from wildreward.evaluation_report_drawing import Bar
from wildreward.formatting import FEATURES
from wildreward.report import Picture

PREFIXES = ("", "preference_")
ABOVE = "reliability_above_"
"""A curve of this name and a threshold k has the series of P(class > k) before calibration and after."""
MAX_SUBSETS = 20


def pictures(result: SetResult) -> Iterator[Picture]:
    """Every picture for which the set has the data."""
    for prefix in PREFIXES:
        for make in (_margins, _curves, _length_bars, _gain_bars, _format_bars):
            yield from make(result, prefix)
    yield from _scores(result)
    yield from _confusion(result)
    yield from _subset_bars(result)


@dataclass(frozen=True)
class CurveSpec:
    """How a curve of this name is drawn and explained."""

    xlabel: str
    ylabel: str
    caption: str
    reference: float | None = None
    reliability_from: float | None = None
    """Of a reliability curve: the lowest probability. A dashed diagonal is drawn from there to 1."""
    levels: bool = False
    """The x axis has no places between its points."""


_CALIBRATED = "A calibrated model lies on the dashed diagonal; below it the model is surer than it should be."

CURVES: Mapping[str, CurveSpec] = {
    "accuracy_by_margin": CurveSpec(
        "|margin| between the two scores",
        "share right",
        "Margin against accuracy, in bins of equally many pairs. It should rise: a large margin means a safe decision.",
        reference=0.5,
    ),
    "accuracy_by_coverage": CurveSpec(
        "share of pairs answered, surest first",
        "share right",
        "Coverage: accuracy when only the surest share is answered.",
        reference=0.5,
    ),
    "reliability": CurveSpec(
        "probability of the preferred reply, sigmoid(|margin|)",
        "share right",
        "Reliability of the preference probability. " + _CALIBRATED,
        reliability_from=0.5,
    ),
    "reliability_of_likeliest_class": CurveSpec(
        "probability of the likeliest class",
        "share right",
        "Reliability of the class. " + _CALIBRATED,
        reliability_from=0.0,
    ),
    "reliability_of_classes": CurveSpec(
        "P(class = k)",
        "share of class k",
        "Reliability of each class probability. " + _CALIBRATED,
        reliability_from=0.0,
    ),
    "reliability_of_thresholds": CurveSpec(
        "P(class > k)", "share above k", "Reliability of each threshold. " + _CALIBRATED, reliability_from=0.0
    ),
    "rating_by_score": CurveSpec(
        "score", "mean rating", "Mean rating in bins of equally many replies by score. It should rise all the way."
    ),
    "score_by_rating": CurveSpec("rating", "mean score", "Mean score of the replies with each rating.", levels=True),
    "best_of_n": CurveSpec(
        "replies to choose from, n",
        "quality of the chosen one",
        "Best of n: how good the highest-scored of n replies is, beside choosing blindly and choosing best (oracle).",
        levels=True,
    ),
    "score_by_class": CurveSpec("class", "mean score", "Mean score of the replies of each class.", levels=True),
}


def _curves(result: SetResult, prefix: str) -> Iterator[Picture]:
    found = result.extra.get("curves", {})
    for name in (*CURVES, *(name for name in found if name.startswith(ABOVE))):
        series = {who: points for who, points in found.get(prefix + name, {}).items() if points}
        if series:
            yield curve_picture(name, series, prefix)


def curve_picture(name: str, series: Mapping[str, Sequence[Mapping[str, Any]]], prefix: str = "") -> Picture:
    """The picture of a curve of CURVES, or of a threshold before and after calibration."""
    spec = CURVES.get(name) or _before_and_after(name.removeprefix(ABOVE))
    figure = draw.curves(series, spec.reference, spec.reliability_from)
    figure.axes[0].set(xlabel=spec.xlabel, ylabel=spec.ylabel)
    if spec.levels:
        figure.axes[0].set_xticks([point["x"] for points in series.values() for point in points])
    caption = spec.caption + (" Length is sure where it differs much." if "length" in series else "")
    return _picture(prefix, figure, caption, "; ".join(_in_words(*item) for item in series.items()))


def _before_and_after(k: str) -> CurveSpec:
    caption = f"Reliability of P(class > {k}) before calibration and after. " + _CALIBRATED
    return CurveSpec(f"P(class > {k})", f"share above {k}", caption, reliability_from=0.0)


def _in_words(name: str, points: Sequence[Mapping[str, Any]]) -> str:
    known = [point for point in points if point["value"] is not None]
    first, last = known[0], known[-1]
    ends = (f"{point['value']:.3g} at {point['x']:.3g}" for point in (first, last))
    return f"{name}: {len(known)} points, from {' to '.join(ends)}"


def _margins(result: SetResult, prefix: str) -> Iterator[Picture]:
    found = result.extra.get("histograms", {}).get(f"{prefix}margin")
    if found:
        [counts] = found["series"].values()
        words = f"{sum(counts)} margins between {found['edges'][0]:.3g} and {found['edges'][-1]:.3g}"
        yield _picture(
            prefix, draw.margins(found), "Margins. What is right of 0 is right; a tie, at 0, is wrong.", words
        )


def _scores(result: SetResult) -> Iterator[Picture]:
    found = result.extra.get("histograms", {}).get("score")
    if found:
        words = f"{', '.join(found['series'])}, between {found['edges'][0]:.3g} and {found['edges'][-1]:.3g}"
        figure = draw.histogram(found, "score", "share of the replies")
        yield _picture("", figure, "Scores. Outlines that lie on each other cannot be told apart by the score.", words)


def _confusion(result: SetResult) -> Iterator[Picture]:
    if "confusion" in result.extra:
        counts = result.extra["confusion"]
        words = "; ".join(f"class {k}: {', '.join(map(str, row))}" for k, row in enumerate(counts, start=1))
        yield _picture("", draw.confusion(counts), "Predicted against true class, in counts.", words)


def _length_bars(result: SetResult, prefix: str) -> Iterator[Picture]:
    names = {
        "accuracy": "all pairs",
        "accuracy_when_longer_is_better": "longer is better",
        "accuracy_when_shorter_is_better": "shorter is better",
        "accuracy_when_equal_length": "equally long",
        "length_balanced_accuracy": "longer and shorter alike",
    }
    bars = _bars({label: result.metrics.get(prefix + name) for name, label in names.items()})
    caption = (
        "Length bias: accuracy by which reply is longer. Bars that differ show a taste for length (or for brevity)."
    )
    if len(bars) > 1:
        yield _bar_picture(prefix, bars, "share right", caption, 0.5)


def _format_bars(result: SetResult, prefix: str) -> Iterator[Picture]:
    found = {
        f"{word} {_plain(name)}": result.metrics.get(f"{prefix}accuracy_when_{word}_{name}_is_better")
        for name in (*FEATURES, "formatting")
        for word in ("more", "fewer")
    }
    caption = (
        "Format bias: accuracy by the markdown of the better reply. A model that likes lists is right where more are "
        "better and wrong where fewer are."
    )
    if bars := _bars(found):
        yield _bar_picture(prefix, bars, "share right", caption, 0.5)


def _gain_bars(result: SetResult, prefix: str) -> Iterator[Picture]:
    found = {
        f"more {_plain(name)}": result.metrics.get(f"{prefix}score_gain_of_more_{name}")
        for name in (*FEATURES, "formatting")
    }
    caption = "Score of the reply with more of it minus that of the other reply to the same prompt, better or not."
    if bars := _bars(found):
        yield _bar_picture(prefix, bars, "difference in score", caption, 0.0)


def _subset_bars(result: SetResult) -> Iterator[Picture]:
    """The headline metric, or the first one, of every subset, the lowest first."""
    names = [*result.headline, *next(iter(result.subsets.values()), {})]
    for name in names:
        bars = _bars({subset: metrics.get(name) for subset, metrics in result.subsets.items()})
        if bars:
            lowest_first = sorted(bars, key=lambda bar: bar.value)[:MAX_SUBSETS]
            shown = f"{len(lowest_first)} of {len(result.subsets)}"
            caption = f"{_plain(name).capitalize()} of subsets, the lowest first: {shown}."
            yield _bar_picture("", lowest_first, _plain(name), caption, None)
            return


def _bars(found: Mapping[str, Metric | None]) -> list[Bar]:
    """A bar for each metric that is there and is about enough to be believed; the label ends with the count."""
    bars = []
    for label, metric in found.items():
        value = None if metric is None else metric.estimate.value
        if metric is None or value is None or metric.count < MIN_GROUPS:
            continue
        length = metric.baselines.get("length")
        beside = None if length is None else length.estimate.value
        bars.append(Bar(f"{label} ({metric.count})", value, metric.estimate.low, metric.estimate.high, beside))
    return bars


def _bar_picture(prefix: str, bars: Sequence[Bar], xlabel: str, caption: str, reference: float | None) -> Picture:
    words = "; ".join(f"{bar.label}: {bar.value:.3f}" for bar in bars)
    return _picture(prefix, draw.bars(bars, xlabel, reference), caption, words)


def _picture(prefix: str, figure: Any, caption: str, words: str) -> Picture:
    about = "The users' choices. " if prefix else ""
    return Picture(figure, about + caption, f"{about}{caption.split('.', maxsplit=1)[0]}. {words}.")


def _plain(name: str) -> str:
    return name.replace("_", " ")
