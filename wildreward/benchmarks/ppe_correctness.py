"""PPE correctness: 32 replies to a prompt, each right or wrong (Frick et al. 2024, arXiv 2410.14872, section 5).

Data lmarena-ai/PPE-{MMLU-Pro,MATH,GPQA,MBPP-Plus,IFEval}-Best-of-K, `train`. Fields: question_id, prompt, model_name,
scores (32 booleans), response_1 ... response_32, sampled_conflict_pairs (pairs of places from 0, one of them right).
Rules, for each of the five benchmarks (the paper's; what it leaves open as re-implementations of lmarena/PPE
utils/scorers.py have it):
- `accuracy`: of a prompt's sampled pairs, the share whose right reply scores strictly higher (a tie is wrong); mean
  over prompts;
- `auc`: area under the ROC curve of right against wrong over all replies, scores brought to 0..1 within each prompt;
- best-of-k curve: correctness of the highest-scored among k replies, mean over prompts, k = 1..32. `end_score` is the
  curve at its end, `max_score` its highest point (beyond it more replies do harm), `loss` the mean over k of its
  squared distance to the curve of an oracle. There the curves are averaged over 100 shuffles, here they are the exact
  expectation.
Metrics without a benchmark's name are means over the five; `worst_benchmark` is the lowest accuracy.
The bootstrap draws questions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wildreward.benchmarks.best_of import (
    at,
    best_of_measures,
    curves_of,
    highest,
    mean_curve,
    points_of,
    sizes_of,
    squared_gap,
)
from wildreward.benchmarks.downstream import downstream_metrics
from wildreward.benchmarks.evaluation_set import Item, SetResult, as_text
from wildreward.benchmarks.measure import Measure, MeasureOptions, Metrics, measure_all
from wildreward.benchmarks.parts import coverage, mean_of, minimum_of, part_measure
from wildreward.benchmarks.reply_lists import ReplyLists, as_truths, conversations_of, is_list
from wildreward.metrics import Array, Statistic, concordance
from wildreward.scorer import Conversation

COUNTS = {"mmlu_pro": 512, "math": 512, "gpqa": 512, "mbpp_plus": 507, "ifeval": 512}
"""Prompts of each benchmark, 2,555 together."""

SIGNS = {"options": "mmlu_pro", "Record ID": "gpqa", "test_list": "mbpp_plus", "instruction_id_list": "ifeval"}
"""Columns that only one of the files has; MATH is known by its path, or by `problem` or `level`."""

CURVES = ("loss", "max_score", "end_score")
_CELLS = 2_000_000


class PPECorrectness(ReplyLists):
    kind = "ppe-correctness"
    whole = True
    needs = ("question_id", "prompt", "scores", "response_1", "response_2")
    shown = ("accuracy", "auc", *CURVES, "worst_benchmark")

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        benchmark, model = benchmark_of(values, self.path), as_text(values.get("model_name"))
        question = as_text(values.get("question_id")) or str(row)
        truth = as_truths(values.get("scores"))
        return {
            "id": f"{benchmark}/{model}/{question}",
            "benchmark": benchmark,
            "model": model,
            "group": f"{benchmark}/{question}",
            "truth": truth,
            "conflicts": None if truth is None else right_and_wrong(values.get("sampled_conflict_pairs"), truth),
        }

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        replies: list[Any] = []
        while f"response_{len(replies) + 1}" in values:
            replies.append(values[f"response_{len(replies) + 1}"])
        truth = as_truths(values["scores"])
        if truth is None or len(truth) != len(replies):
            return {}, "scores_are_not_one_of_each_reply"
        if right_and_wrong(values.get("sampled_conflict_pairs"), truth) is None:
            return {}, "malformed_sampled_conflict_pairs"
        return conversations_of(values["prompt"], replies)

    def measure(self, options: MeasureOptions) -> SetResult:
        orders, benchmarks_N = self.orders(options.seed), self.column("benchmark")
        truths = [np.array(item["truth"], dtype=float) for item in self.scored]
        curves = curves_of(orders, truths)
        rates, paired_N = self._pair_rates(orders)
        sizes = sizes_of(curves, np.ones(len(truths), dtype=bool))
        parts = {}
        for name in COUNTS:
            members_N = benchmarks_N == name
            parts[name] = {
                "accuracy": part_measure(rates, members_N & paired_N),
                "auc": _auc(orders, truths, members_N),
                **_curve_measures(curves, members_N),
                **best_of_measures(curves, members_N, sizes),
            }
        names = list(next(iter(parts.values())))
        measures = {name: mean_of([part[name] for part in parts.values()]) for name in names}
        measures["worst_benchmark"] = minimum_of([part["accuracy"] for part in parts.values()])
        keyed = {f"{part}\t{name}": measure for part, group in parts.items() for name, measure in group.items()}
        metrics = measure_all(measures | keyed, self.groups(options), options)
        by_part: dict[str, Metrics] = {part: {name: metrics.pop(f"{part}\t{name}") for name in names} for part in parts}
        found = coverage(self.items, "benchmark", COUNTS)
        down, more = downstream_metrics(self, orders, options)
        extra = {
            "official": found.to_dict(),
            "curves": {"best_of_n": points_of(metrics, sizes)},
            "direction_of_length": "longer is better",
        }
        return SetResult(metrics | down, ("accuracy", "end_score"), by_part, extra | more, found.notes())

    def _pair_rates(self, orders: Mapping[str, Sequence[Array]]) -> tuple[dict[str, Array], Array]:
        """(N,) share of right sampled pairs for each ordering, and which prompts have any."""
        pairs = [item["conflicts"] for item in self.scored]
        rates = {
            who: np.array([_share_right(row, found) for row, found in zip(rows, pairs, strict=True)])
            for who, rows in orders.items()
        }
        return rates, np.array([bool(found) for found in pairs])


def benchmark_of(values: Mapping[str, Any], path: str) -> str:
    """Which of the five a row belongs to.

    >>> benchmark_of({"test_list": []}, ""), benchmark_of({}, "PPE-MATH-Best-of-K/0"), benchmark_of({}, "x.json")
    ('mbpp_plus', 'math', 'unknown (x.json)')
    """
    for sign, name in SIGNS.items():
        if sign in values:
            return name
    if "math" in path.lower() or "problem" in values or "level" in values:
        return "math"
    return f"unknown ({path.rpartition('/')[2]})"


def right_and_wrong(pairs: Any, truth: Sequence[float]) -> list[list[int]] | None:
    """[right, wrong] places of each sampled pair; None where a pair is not two places of unlike correctness.

    >>> right_and_wrong([[0, 2], [2, 1]], [0, 0, 1]), right_and_wrong([[0, 1]], [0, 0, 1]), right_and_wrong(None, [1])
    ([[2, 0], [2, 1]], None, [])
    """
    made = []
    for pair in [] if pairs is None else pairs:
        if not is_list(pair) or len(pair) != 2 or not all(isinstance(i, int) and 0 <= i < len(truth) for i in pair):
            return None
        first, second = pair
        if truth[first] == truth[second]:
            return None
        made.append([first, second] if truth[first] > truth[second] else [second, first])
    return made


def _share_right(row: Array, pairs: Sequence[Sequence[int]]) -> float:
    return float(np.mean([row[right] > row[wrong] for right, wrong in pairs])) if pairs else 0.0


def _auc(orders: Mapping[str, Sequence[Array]], truths: Sequence[Array], members_N: Array) -> Measure:
    made = {who: pooled_auc(rows, truths, members_N) for who, rows in orders.items()}
    return Measure(made.pop("model"), made, 0.5, members_N=members_N)


def _curve_measures(curves: Mapping[str, Array], members_N: Array) -> dict[str, Measure]:
    means = {who: mean_curve(curve_NK, members_N) for who, curve_NK in curves.items()}
    ends = sizes_of(curves, members_N)[-1]
    made = {
        "loss": {who: squared_gap(curve, means["oracle"], ends) for who, curve in means.items()},
        "max_score": {who: highest(curve, ends) for who, curve in means.items()},
        "end_score": {who: at(curve_NK, ends, members_N) for who, curve_NK in curves.items()},
    }
    return {
        name: Measure(series.pop("model"), series, None, name != "loss", members_N) for name, series in made.items()
    }


def pooled_auc(rows: Sequence[Array], truths: Sequence[Array], members_N: Array) -> Statistic:
    """AUC of right against wrong over all replies of the members, scores brought to 0..1 within each prompt.

    >>> rows, truths = [np.array([1.0, 9.0]), np.array([0.1, 0.2])], [np.array([0, 1]), np.array([0, 1])]
    >>> pooled_auc(rows, truths, np.array([True, True]))(np.ones((1, 2)))
    array([1.])
    """
    if not members_N.any():
        return lambda weights_RN: np.full(len(weights_RN), np.nan)
    members = [int(place) for place in np.flatnonzero(members_N)]
    values_M = np.concatenate([within_prompt(rows[i]) for i in members])
    agreement = concordance(values_M, np.concatenate([truths[i] for i in members]))
    owner_M = np.repeat(members, [len(rows[i]) for i in members])
    # A weight for each reply and resample would take 32 times the room of the prompts': some resamples at a time.
    step = max(1, _CELLS // len(owner_M))

    def statistic(weights_RN: Array) -> Array:
        starts = range(0, len(weights_RN), step)
        return np.concatenate([agreement(weights_RN[start : start + step][:, owner_M]) for start in starts])

    return statistic


def within_prompt(row: Array) -> Array:
    """Scores of a prompt's replies brought to 0..1; 1/2 where all are equal.

    >>> within_prompt(np.array([2.0, 4.0, 3.0])).tolist(), within_prompt(np.array([7.0, 7.0])).tolist()
    ([0.0, 1.0, 0.5], [0.5, 0.5])
    """
    spread = row.max() - row.min()
    return (row - row.min()) / spread if spread else np.full(len(row), 0.5)
