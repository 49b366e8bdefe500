"""Evaluate a scorer on evaluation sets: score every text once, measure every set, say what the intervals allow.

    sets = read_sets(["pairs/*.parquet"])
    results = evaluate(sets, lambda conversations: score_each(scorer, conversations), MeasureOptions())

`results_json` is the content of results.json; its keys are stable and described there.
"""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.benchmarks.measure import MeasureOptions, Metric, Metrics
from wildreward.bootstrap import Estimate
from wildreward.scorer import Conversation, Unscored, content_key

if TYPE_CHECKING:
    from wildreward.reward_model import Score

FORMAT = "wildreward-evaluation/1"

ScoreAll = Callable[[list[Conversation]], "Sequence[Score | Unscored]"]
"""Results of different conversations, in order. A sequence may make them when they are looked at."""


@dataclass(frozen=True)
class Evaluation:
    """Measured sets in the order of the input, and what was read for them."""

    results: Mapping[str, tuple[EvaluationSet, SetResult]]
    texts: Mapping[str, int]


def evaluate(sets: Sequence[EvaluationSet], score_all: ScoreAll, options: MeasureOptions) -> Evaluation:
    """Score each different conversation once, and measure. Raises DataError for a set with nothing left to evaluate."""
    for found in sets:
        found.require_scored()  # one without a usable row is told before the others are scored
    unique: dict[str, Conversation] = {}
    keys = [[content_key(messages) for messages in found.conversations] for found in sets]
    for found, found_keys in zip(sets, keys, strict=True):
        unique |= dict(zip(found_keys, found.conversations, strict=True))
    place = {key: position for position, key in enumerate(unique)}
    scores = score_all(list(unique.values())) if unique else []
    results = {}
    for found, found_keys in zip(sets, keys, strict=True):
        found.take_scores([scores[place[key]] for key in found_keys])
        results[found.name] = (found, found.measure(options))
    return Evaluation(results, _texts(scores, sum(map(len, keys))))


def fresh_copies(sets: Sequence[EvaluationSet]) -> list[EvaluationSet]:
    """The same sets for another model's scores: items of their own, the texts shared. Made before any is scored."""
    copies = []
    for found in sets:
        copied = copy.copy(found)
        copied.items = [dict(item) for item in found.items]
        copies.append(copied)
    return copies


def _texts(scores: "Sequence[Score | Unscored]", asked: int) -> dict[str, int]:
    counts = Counter[str]()
    for score in scores:
        if isinstance(score, Unscored):
            counts["not_scored"] += 1
            continue
        counts["scored_once"] += 1
        counts["tokens"] += score.tokens or 0
        counts["prompt_cut"] += bool(score.prompt_tokens_cut)
        counts["response_cut"] += bool(score.response_tokens_cut)
    names = ("scored_once", "not_scored", "tokens", "prompt_cut", "response_cut")
    return {"replies": asked} | {name: counts[name] for name in names}


def results_json(evaluation: Evaluation, model: Mapping[str, Any], options: MeasureOptions) -> dict[str, Any]:
    """results.json:

    format      "wildreward-evaluation/1"
    model       what the model says of itself (checkpoint, head, cutpoints, template, ...) and `identity`, the name of
                its scores in the cache
    options     replicates, confidence, seed, bins, group_by
    texts       replies (asked for), scored_once (different texts), not_scored, tokens, prompt_cut, response_cut
    sets        {name: {kind, files, rows, evaluated, skipped: {reason: n}, groups, metrics, subsets, extra,
                headline: [metric], verdicts: [sentence]}}
    metrics     {name: {value, low, high, count, higher_is_better, chance, against_chance, against_length,
                baselines: {name: {value, low, high, difference: {value, low, high}}}}}
                difference is model minus baseline on the same resamples; null where there is too little data
    subsets     {subset: metrics}
    comparison  with --baseline: the keys of comparison_json (wildreward/comparison.py), else null
    """
    return {
        "format": FORMAT,
        "model": dict(model),
        "options": dict(vars(options)),
        "texts": dict(evaluation.texts),
        "sets": {name: _set_json(found, result, options) for name, (found, result) in evaluation.results.items()},
    }


def _set_json(found: EvaluationSet, result: SetResult, options: MeasureOptions) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "files": list(found.files),
        "rows": len(found.items),
        "evaluated": len(found.scored),
        "skipped": found.skipped,
        "groups": len(set(found.groups(options).tolist())),
        "metrics": _metrics_json(result.metrics),
        "subsets": {name: _metrics_json(metrics) for name, metrics in result.subsets.items()},
        "extra": dict(result.extra),
        "headline": list(result.headline),
        "verdicts": verdicts(result),
    }


def _metrics_json(metrics: Metrics) -> dict[str, Any]:
    return {name: metric.to_dict() for name, metric in metrics.items()}


def verdicts(result: SetResult) -> list[str]:
    """What a reader must know first, then one plain sentence for each headline metric."""
    return [*result.notes, *(_sentence(name, result.metrics[name]) for name in result.headline)]


def _sentence(name: str, metric: Metric) -> str:
    said = [words for words in (metric.against_chance, metric.against_length) if words]
    length = metric.baselines.get("length")
    beside = f" (length {show(length.estimate)})" if length else ""
    if metric.estimate.value is None:
        return f"{name.replace('_', ' ')}: null, not enough is there to say it"
    text = f"{name.replace('_', ' ')} {show(metric.estimate)}"
    return f"{text}: {', and '.join(said)}{beside}" if said else text


def show(estimate: Estimate) -> str:
    """
    >>> show(Estimate(0.51234, 0.4, 0.6)), show(Estimate(0.5)), show(Estimate(None))
    ('0.512 [0.400, 0.600]', '0.500', '-')
    """
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
