"""Evaluation of a callable, end to end without Ray: results, report and console."""

import io
import json
import math
from typing import Any

import pytest

from tests.wildreward.benchmarks.sets import QUICK, made, score
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.pairs import Pairs
from wildreward.benchmarks.rated import Rated
from wildreward.benchmarks.wildfb import WildFB
from wildreward.errors import DataError
from wildreward.evaluation import FORMAT, Evaluation, evaluate, results_json
from wildreward.evaluation_console import print_evaluation
from wildreward.reward_model import Score
from wildreward.scorer import Conversation, Unscored

SECRET = "a text that must not leave"


def _sets() -> list[EvaluationSet]:
    replies = [SECRET + " x" * i for i in range(24)]
    pairs = [
        {"id": str(i), "subset": "ab"[i % 2], "prompt": SECRET, "chosen": replies[i], "rejected": replies[i - 1]}
        for i in range(1, 24)
    ]
    rated = [{"prompt": SECRET, "response": reply, "rating": i % 5 + 1} for i, reply in enumerate(replies)]
    rows: list[dict[str, Any]] = []
    for i, reply in enumerate([*replies, ""]):
        messages = [{"role": "user", "content": SECRET}, {"role": "assistant", "content": reply}]
        rows.append({"id": str(i), "messages": messages, "label": i % 4 + 1})
    sets = [made(Pairs, pairs), made(Rated, rated), made(WildFB, rows)]
    for found in sets:
        found.name = f"my/{found.kind}"
    return sets


def _by_length(conversations: list[Conversation]) -> list[Score | Unscored]:
    lengths = [len(messages[-1]["content"]) for messages in conversations]
    found: list[Score | Unscored] = []
    for length in lengths:
        top = 1 / (1 + math.exp(-(length - 50) / 20))
        found.append(score(1 + 3 * top, (1 - top, 0.0, 0.0, top)))
    return found


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(_sets(), _by_length, QUICK)


def test_each_text_is_scored_once_over_all_sets() -> None:
    asked: list[int] = []

    def counting(conversations: list[Conversation]) -> list[Score | Unscored]:
        asked.append(len(conversations))
        return _by_length(conversations)

    made_of = evaluate(_sets(), counting, QUICK)
    assert asked == [24]
    assert made_of.texts["replies"] == 2 * 23 + 24 + 24
    assert made_of.texts["scored_once"] == 24


def test_results_have_the_documented_keys_and_are_plain_json(evaluation: Evaluation) -> None:
    results = json.loads(json.dumps(results_json(evaluation, {"checkpoint": "x"}, QUICK), allow_nan=False))
    assert results["format"] == FORMAT
    assert set(results) == {"format", "model", "options", "texts", "sets"}
    assert list(results["sets"]) == ["my/pairs", "my/rated", "my/wildfb"]
    for found in results["sets"].values():
        assert set(found) == {
            "kind", "files", "rows", "evaluated", "skipped", "groups",
            "metrics", "subsets", "extra", "headline", "verdicts",
        }  # fmt: skip
        assert found["rows"] == found["evaluated"] + sum(found["skipped"].values())
        for metric in found["metrics"].values():
            assert set(metric) == {
                "value", "low", "high", "count", "higher_is_better", "chance",
                "against_chance", "against_length", "baselines",
            }  # fmt: skip
    assert results["sets"]["my/wildfb"]["skipped"] == {"empty_response": 1}
    accuracy = results["sets"]["my/pairs"]["metrics"]["accuracy"]
    assert accuracy["value"] == accuracy["baselines"]["length"]["value"] == 1.0
    assert accuracy["baselines"]["length"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_verdict_is_a_plain_sentence(evaluation: Evaluation) -> None:
    results = results_json(evaluation, {}, QUICK)
    assert results["sets"]["my/pairs"]["verdicts"] == [
        "accuracy 1.000 [1.000, 1.000]: better than chance, and no different from length (length 1.000 [1.000, 1.000])"
    ]


def test_none_of_the_texts_is_in_results_or_items(evaluation: Evaluation) -> None:
    assert SECRET not in json.dumps(results_json(evaluation, {}, QUICK))
    assert SECRET not in json.dumps([found.items for found, _ in evaluation.results.values()])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_the_console_shows_intervals_baselines_verdicts_and_skips(
    evaluation: Evaluation, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    print_evaluation(evaluation, 0.95, stream)
    text = stream.getvalue()
    for wanted in ("my/pairs", "pairwise_accuracy", "[1.000, 1.000]", "better than chance", "skipped 1 of 25 rows"):
        assert wanted in text


def test_a_set_without_a_usable_row_is_told_before_the_others_are_scored() -> None:
    empty = made(Pairs, [{"prompt": "hi", "chosen": "", "rejected": "b"}])

    def never(conversations: list[Conversation]) -> list[Score | Unscored]:
        pytest.fail("scored")

    with pytest.raises(DataError, match="nothing is left to evaluate: empty_response 1"):
        evaluate([*_sets(), empty], never, QUICK)


def test_an_unscorable_text_is_counted_and_not_measured() -> None:
    def failing(conversations: list[Conversation]) -> list[Score | Unscored]:
        return [Unscored("nan_score"), *_by_length(conversations)[1:]]

    made_of = evaluate(_sets(), failing, QUICK)
    assert made_of.texts["not_scored"] == 1
    assert [found.skipped.get("nan_score") for found, _ in made_of.results.values()] == [2, 1, 1]
