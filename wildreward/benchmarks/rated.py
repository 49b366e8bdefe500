"""Replies with the user's own rating: `prompt`, `response`, `rating`; `history`, `turn`, `preferred` if there are any.

Rules: Spearman and Kendall (tau-b) of the score with the rating over all rows. `preferred` (true or false) is the
user's choice among the replies to one turn, that is, to one `conversation_hash` and `turn` (or one history and prompt
where these columns are absent): every preferred reply is paired with every other that was not; a tie counts as wrong.
Rows where `preferred` is null belong to no pair; a choice without its counterpart is counted as `unpaired`.
Baselines: length in characters (longer is better), and random scores. The bootstrap draws conversations.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from wildreward.benchmarks.evaluation_set import (
    EvaluationSet,
    Item,
    SetResult,
    as_number,
    as_prompt,
    as_text,
    reply_to,
)
from wildreward.benchmarks.measure import Measure, MeasureOptions, measure_all
from wildreward.metrics import Array, kendall, mean, rate_within, spearman
from wildreward.scorer import Conversation

CHANCE = 0.5


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
        ratings_N, scores_N, chars_N = self.column("rating"), self.column("score"), self.column("chars")
        random_N = np.random.default_rng(options.seed).random(len(scores_N))
        measures = {
            name: Measure(build(scores_N, ratings_N), baselines, chance=0.0)
            for name, build in (("spearman", spearman), ("kendall", kendall))
            for baselines in [{"length": build(chars_N, ratings_N), "random": build(random_N, ratings_N)}]
        }
        measures["score_length_spearman"] = Measure(spearman(scores_N, chars_N))
        groups_N = self.groups(options)
        metrics = measure_all(measures, groups_N, options)
        pairs, unpaired = self._pairs()
        if len(pairs):
            columns = {"model": scores_N, "length": chars_N, "random": random_N}
            metrics |= measure_all(_preferences(pairs, columns), groups_N[pairs[:, 0]], options)
        headline = ("preference_accuracy", "spearman") if len(pairs) else ("spearman",)
        extra = {"preference_pairs": len(pairs), "unpaired": unpaired, "direction_of_length": "longer is better"}
        return SetResult(metrics, headline, extra=extra)

    def _pairs(self) -> tuple[Array, int]:
        """(P, 2) places of the preferred and the other reply among the scored items, and the choices left over."""
        by_turn: defaultdict[str, dict[bool, list[int]]] = defaultdict(lambda: {True: [], False: []})
        for place, item in enumerate(self.scored):
            if item["preferred"] is not None:
                by_turn[item["turn_key"]][bool(item["preferred"])].append(place)
        pairs = [(win, lose) for found in by_turn.values() for win in found[True] for lose in found[False]]
        unpaired = sum(
            len(found[not side]) == 0 and len(found[side]) for found in by_turn.values() for side in (True, False)
        )
        return np.array(pairs, dtype=int).reshape(-1, 2), int(unpaired)


def _preferences(pairs: Array, columns: Mapping[str, Array]) -> dict[str, Measure]:
    wins, losses = pairs.T
    hits = {name: values_N[wins] > values_N[losses] for name, values_N in columns.items()}
    right_P = hits.pop("model")
    measures = {
        "preference_accuracy": Measure(mean(right_P), {name: mean(hit_P) for name, hit_P in hits.items()}, CHANCE)
    }
    chars_N = columns["length"]
    for name, members_P in (("longer", chars_N[wins] > chars_N[losses]), ("shorter", chars_N[wins] < chars_N[losses])):
        measure = Measure(rate_within(right_P, members_P), chance=CHANCE, members_N=members_P)
        measures[f"preference_accuracy_when_{name}_is_better"] = measure
    return measures


def hash_of(text: str) -> str:
    """Short content hash: nothing of the text itself goes into the items."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
