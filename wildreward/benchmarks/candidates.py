"""Candidate sets: several replies to each prompt, and how good each really is: best-of-n curves.

Fields: `prompt` (messages or a string), `responses` (a list of texts), and the true quality of each in one of
QUALITIES (numbers, or true and false); `id` and `subset` if there are any. Without qualities `--downstream` judges the
choices.
Rules:
- `best_of_N`: expected quality of the highest-scored among N replies drawn without replacement (best_of.py), mean over
  the prompts that have N replies; N = 1, 2, 4, ... and the largest. Beside it what choosing blindly (`random`), by
  length and best (`oracle`) give;
- `share_of_gain`: (model - random) / (oracle - random) at the largest N;
- `within_prompt_accuracy`: of the pairs of unlike quality within a prompt, the share that the better reply wins (a tie
  is wrong), mean over prompts.
The bootstrap draws prompts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wildreward.benchmarks.best_of import at, best_of_measures, curves_of, points_of, sizes_of
from wildreward.benchmarks.downstream import downstream_metrics
from wildreward.benchmarks.evaluation_set import Item, SetResult, as_text
from wildreward.benchmarks.measure import Measure, MeasureOptions, measure_all
from wildreward.benchmarks.parts import part_measure
from wildreward.benchmarks.rated import hash_of
from wildreward.benchmarks.reply_lists import ReplyLists, as_truths, conversations_of, is_list
from wildreward.errors import DataError
from wildreward.metrics import Array, Statistic
from wildreward.scorer import Conversation

QUALITIES = ("scores", "correct", "qualities", "ratings")


class Candidates(ReplyLists):
    kind = "candidates"
    needs = ("prompt", "responses")

    @classmethod
    def is_one(cls, values: Mapping[str, Any]) -> bool:
        return is_list(values.get("responses"))

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        return {
            "id": as_text(values.get("id")) or str(row),
            "subset": as_text(values.get("subset")) or "all",
            "group": hash_of(repr(values.get("prompt"))),
            "quality": as_truths(quality_of(values)),
        }

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        made, reason = conversations_of(values["prompt"], values["responses"])
        if reason is not None:
            return {}, reason
        if len(made) < 2:
            return {}, "fewer_than_two_responses"
        given = quality_of(values)
        if given is None and self.downstream is None:
            return {}, "no_quality"
        if given is not None and (as_truths(given) is None or len(given) != len(made)):
            return {}, "qualities_are_not_one_number_of_each_response"
        return made, None

    def measure(self, options: MeasureOptions) -> SetResult:
        orders = self.orders(options.seed)
        down, more = downstream_metrics(self, orders, options)
        known_N = np.array([item["quality"] is not None for item in self.scored])
        if not known_N.all():
            if known_N.any():
                raise DataError(
                    f"{self.name} ({self.files[0]}): {int((~known_N).sum())} of {len(known_N)} prompts have no quality "
                    f"({', '.join(QUALITIES)}); give it for all of them or for none"
                )
            return SetResult(down, tuple(down), extra=more | {"prompts": len(known_N)})
        truths = [np.array(item["quality"], dtype=float) for item in self.scored]
        curves = curves_of(orders, truths)
        for item, row in zip(self.scored, orders["model"], strict=True):
            item["chosen"] = int(row.argmax())
        subsets_N = self.column("subset")
        everyone_N = np.ones(len(truths), dtype=bool)
        sizes = sizes_of(curves, everyone_N)
        measures = best_of_measures(curves, everyone_N, sizes)
        measures["share_of_gain"] = _share_of_gain(curves, sizes[-1])
        measures["within_prompt_accuracy"] = _accuracy(orders, truths)
        by_part = {part: self._of(curves, subsets_N == part) for part in np.unique(subsets_N).tolist()}
        parts = by_part if len(by_part) > 1 else {}
        keyed = {f"{part}\t{name}": made for part, group in parts.items() for name, made in group.items()}
        metrics = measure_all(measures | keyed, self.groups(options), options)
        subsets = {part: {name: metrics.pop(f"{part}\t{name}") for name in group} for part, group in parts.items()}
        extra = {"curves": {"best_of_n": points_of(metrics, sizes)}, "direction_of_length": "longer is better"}
        headline = (f"best_of_{sizes[-1]}", "within_prompt_accuracy", *down)
        return SetResult(metrics | down, headline, subsets, extra | more)

    def _of(self, curves: Mapping[str, Array], members_N: Array) -> dict[str, Measure]:
        return best_of_measures(curves, members_N, sizes_of(curves, members_N))


def quality_of(values: Mapping[str, Any]) -> Any:
    """The qualities of a row, whatever the column is called; None where there are none."""
    return next((values[name] for name in QUALITIES if values.get(name) is not None), None)


def _share_of_gain(curves: Mapping[str, Array], size: int) -> Measure:
    ends = {who: at(curve_NK, size) for who, curve_NK in curves.items()}

    def share(who: str) -> Statistic:
        def statistic(weights_RN: Array) -> Array:
            blind_R = ends["random"](weights_RN)
            possible_R = ends["oracle"](weights_RN) - blind_R
            gained_R = ends[who](weights_RN) - blind_R
            return np.divide(gained_R, possible_R, out=np.full(len(weights_RN), np.nan), where=possible_R > 0)

        return statistic

    return Measure(share("model"), {"length": share("length")}, 0.0)


def _accuracy(orders: Mapping[str, Sequence[Array]], truths: Sequence[Array]) -> Measure:
    """Within prompts: prompts whose replies are all equally good have no pair."""
    unlike_N = np.array([len(np.unique(truth)) > 1 for truth in truths])
    won = {
        who: np.array([share_of_pairs_won(row, truth) for row, truth in zip(rows, truths, strict=True)])
        for who, rows in orders.items()
    }
    return part_measure(won, unlike_N)


def share_of_pairs_won(row: Array, truth: Array) -> float:
    """Share of pairs of unlike truth whose better reply has the strictly higher score; 0 where there is no pair.

    >>> round(share_of_pairs_won(np.array([1, 3, 3]), np.array([0, 1, 2])), 4)
    0.6667
    """
    better = truth[:, None] > truth[None, :]
    return float((better & (row[:, None] > row[None, :])).sum() / max(1, better.sum()))
