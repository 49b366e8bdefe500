"""Replies with the user's own rating: `prompt`, `response`, `rating`; `history`, `turn`, `preferred` if there are any.

Rules: Spearman and Kendall (tau-b) of the score with the rating over all rows. `cross_sample_auc`: P(a reply with a
high rating scores above one with a low rating), across prompts; high and low are above and below the middle of the
range of ratings that occur (`extra.rating_threshold`; 3 for 1..5), the middle itself is left out.
`rating_calibration_error`, for scorers with class probabilities alone (others have no scale): score and rating are both
put on 0..1, (score - 1) / (classes - 1) and (rating - lowest) / (highest - lowest); then as the ECE, the mean over bins
of |mean rating - mean score|. `random` deals the model's own scores to the rows at random.
`score_length_spearman` and `score_formatting_spearman`: of the score with characters, and with the markdown in a reply.
`preferred` (true or false) is the user's choice among the replies to one turn, that is, to one `conversation_hash` and
`turn` (or one history and prompt where these columns are absent): every preferred reply is paired with every other that
was not; a tie counts as wrong. Rows where `preferred` is null belong to no pair; a choice without its counterpart is
counted as `unpaired`. What is measured of these pairs is that of wildreward/benchmarks/pair_measures.py and
bias_measures.py, as `preference_*`.
Baselines: length in characters (longer is better), and random scores. The bootstrap draws conversations.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from wildreward.benchmarks.curves import MAX_LEVELS, Curve, by_bin_of, by_level, measure_with_curves, score_histogram
from wildreward.benchmarks.evaluation_set import (
    EvaluationSet,
    Item,
    SetResult,
    as_number,
    as_prompt,
    as_text,
    reply_to,
)
from wildreward.benchmarks.measure import Measure, MeasureOptions
from wildreward.benchmarks.pair_columns import PairColumns, ReplyColumns
from wildreward.benchmarks.pair_measures import measure_pairs
from wildreward.metrics import Array, among, concordance, expected_calibration_error, kendall, spearman
from wildreward.scorer import Conversation


class Rated(EvaluationSet):
    kind = "rated"
    needs = ("prompt", "response", "rating")

    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        conversation, preferred = as_text(values.get("conversation_hash")), values.get("preferred")
        turn = values.get("turn") if conversation else (values.get("history"), values.get("prompt"))
        return {
            "id": as_text(values.get("id")) or str(row),
            "conversation_hash": conversation,
            "turn": as_text(values.get("turn")),
            "turn_key": hash_of(repr((conversation, turn))),
            "group": conversation or str(row),
            "user": as_text(values.get("user")),
            "model": as_text(values.get("model")),
            "rating": as_number(values.get("rating")),
            "preferred": preferred if isinstance(preferred, bool) else None,
        }

    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        if as_number(values["rating"]) is None:
            return {}, "rating_not_a_number"
        if not isinstance(values.get("preferred"), bool | None):
            return {}, "preferred_not_true_or_false"
        prompt = as_prompt(values["prompt"])
        history = as_prompt(values["history"]) if values.get("history") else []
        if prompt is None or history is None:
            return {}, "malformed_prompt"
        reply = reply_to([*history, *prompt], values["response"])
        return ({}, "empty_response") if reply is None else ({"reply": reply}, None)

    def measure(self, options: MeasureOptions) -> SetResult:
        groups_N, (wins, losses), unpaired = self.groups(options), *self._pairs()
        replies = ReplyColumns.of(self.scored)
        measures, threshold = self._ratings(replies, options)
        metrics, curves = measure_with_curves(measures, self._curves(replies, options.bins), groups_N, options)
        extra: dict[str, Any] = {
            "preference_pairs": len(wins),
            "unpaired": unpaired,
            "direction_of_length": "longer is better",
            "rating_threshold": threshold,
            "curves": curves,
            "histograms": {"score": score_histogram(replies.score_N, self.column("rating"), "rating")},
        }
        if not len(wins):
            return SetResult(metrics, ("spearman",), extra=extra)
        pairs = PairColumns(replies.at(wins), replies.at(losses))
        preferences, more = measure_pairs(pairs, groups_N[wins], options)
        metrics |= {f"preference_{name}": metric for name, metric in preferences.items()}
        curves |= {f"preference_{name}": curve for name, curve in more["curves"].items()}
        extra["histograms"]["preference_margin"] = more["histograms"]["margin"]
        extra["position"] = more["position"]
        return SetResult(metrics, ("preference_accuracy", "spearman"), extra=extra)

    def _ratings(self, replies: ReplyColumns, options: MeasureOptions) -> tuple[dict[str, Measure], float]:
        ratings_N, generator = self.column("rating"), np.random.default_rng(options.seed)
        columns = {"model": replies.score_N, "length": replies.chars_N, "random": generator.random(len(ratings_N))}
        threshold = float(ratings_N.min() + ratings_N.max()) / 2
        decided_N = ratings_N != threshold
        measures = {}
        for name, build, chance in (
            ("spearman", lambda values_N: spearman(values_N, ratings_N), 0.0),
            ("kendall", lambda values_N: kendall(values_N, ratings_N), 0.0),
            ("cross_sample_auc", lambda values_N: among(concordance(values_N, ratings_N > threshold), decided_N), 0.5),
        ):
            made = {who: build(values_N) for who, values_N in columns.items()}
            measures[name] = Measure(made.pop("model"), made, chance)
        measures["cross_sample_auc"] = replace(measures["cross_sample_auc"], members_N=decided_N)
        for name, values_N in (("length", replies.chars_N), ("formatting", replies.formats["formatting"])):
            measures[f"score_{name}_spearman"] = Measure(spearman(replies.score_N, values_N))
        if self.has_probs and np.ptp(ratings_N):
            shares_N, rated_N = self._shares(), (ratings_N - ratings_N.min()) / np.ptp(ratings_N)
            dealt = {"random": expected_calibration_error(generator.permutation(shares_N), rated_N, options.bins)}
            error = expected_calibration_error(shares_N, rated_N, options.bins)
            measures["rating_calibration_error"] = Measure(error, dealt, higher_is_better=False)
        return measures, threshold

    def _shares(self) -> Array:
        """(N,) scores put on 0..1."""
        return (self.column("score") - 1) / (len(self.scored[0]["probs"]) - 1)

    def _curves(self, replies: ReplyColumns, bins: int) -> dict[str, Curve]:
        ratings_N = self.column("rating")
        curves: dict[str, Curve] = {"rating_by_score": {"model": by_bin_of(replies.score_N, ratings_N, bins)}}
        if len(np.unique(ratings_N)) <= MAX_LEVELS:
            curves["score_by_rating"] = {"model": by_level(ratings_N, replies.score_N)}
        return curves

    def _pairs(self) -> tuple[Array, int]:
        """(2, P) places of the preferred and the other reply among the scored items, and the choices left over."""
        by_turn: defaultdict[str, dict[bool, list[int]]] = defaultdict(lambda: {True: [], False: []})
        for place, item in enumerate(self.scored):
            if item["preferred"] is not None:
                by_turn[item["turn_key"]][bool(item["preferred"])].append(place)
        pairs = [(win, lose) for found in by_turn.values() for win in found[True] for lose in found[False]]
        unpaired = sum(
            len(found[not side]) == 0 and len(found[side]) for found in by_turn.values() for side in (True, False)
        )
        return np.array(pairs, dtype=int).reshape(-1, 2).T, int(unpaired)


def hash_of(text: str) -> str:
    """Short content hash: nothing of the text itself goes into the items."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
