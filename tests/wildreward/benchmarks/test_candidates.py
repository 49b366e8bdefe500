"""Best-of-n on candidate sets, and the downstream hook."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.wildreward.benchmarks.rows import candidates_row
from tests.wildreward.benchmarks.sets import QUICK, made, take
from wildreward.benchmarks.candidates import Candidates
from wildreward.benchmarks.downstream import Downstream, load_downstream
from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.errors import DataError, UsageError
from wildreward.records import Record


def _value(result: SetResult, name: str) -> float | None:
    return result.metrics[name].estimate.value


def test_the_curve_of_two_hand_made_prompts_and_its_baselines() -> None:
    found = take(
        made(Candidates, [candidates_row("1", [0, 1]), candidates_row("2", [False, True], "correct")]), [1, 2, 2, 1]
    )
    result = found.measure(QUICK)
    assert (_value(result, "best_of_1"), _value(result, "best_of_2")) == (1 / 2, 1 / 2)
    last = result.metrics["best_of_2"].baselines
    assert {name: baseline.estimate.value for name, baseline in last.items()} == {
        "length": 1.0,
        "oracle": 1.0,
        "random": 0.5,
    }
    assert _value(result, "within_prompt_accuracy") == 1 / 2
    assert _value(result, "share_of_gain") == 0.0
    points = result.extra["curves"]["best_of_n"]
    assert [point["value"] for point in points["oracle"]] == [0.5, 1.0]
    assert [(point["x"], point["count"]) for point in points["model"]] == [(1, 2), (2, 2)]
    assert [item["chosen"] for item in found.items] == [1, 0]


def test_a_tie_wins_no_pair_and_is_chosen_by_half() -> None:
    result = take(made(Candidates, [candidates_row("1", [0, 1])]), [3, 3]).measure(QUICK)
    assert _value(result, "within_prompt_accuracy") == 0.0
    assert _value(result, "best_of_2") == 1 / 2


def test_each_size_is_measured_on_the_prompts_that_have_it() -> None:
    result = take(
        made(Candidates, [candidates_row("1", [0, 1]), candidates_row("2", [0, 0, 2])]), [1, 2, 1, 2, 3]
    ).measure(QUICK)
    assert [name for name in result.metrics if name.startswith("best_of")] == ["best_of_1", "best_of_2", "best_of_3"]
    assert (result.metrics["best_of_2"].count, result.metrics["best_of_3"].count) == (2, 1)
    assert _value(result, "best_of_3") == 2.0


def test_subsets_have_their_own_curves() -> None:
    rows = [candidates_row("1", [0, 1], subset="a"), candidates_row("2", [0, 1], subset="b")]
    result = take(made(Candidates, rows), [1, 2, 2, 1]).measure(QUICK)
    assert {name: part["best_of_2"].estimate.value for name, part in result.subsets.items()} == {"a": 1.0, "b": 0.0}


def test_prompts_are_the_groups_of_the_bootstrap() -> None:
    rows = [candidates_row(str(i), [0, 1]) | {"prompt": "same" if i < 2 else str(i)} for i in range(12)]
    found = take(made(Candidates, rows), [1, 2] * 12)
    assert len(set(found.groups(QUICK))) == 11
    best = found.measure(QUICK).metrics["best_of_2"].estimate
    assert (best.low, best.high) == (1.0, 1.0)


def test_what_cannot_be_used_is_counted_by_reason() -> None:
    rows = [
        candidates_row("1", [0, 1]),
        candidates_row("2", [0, float("nan")]),
        candidates_row("3", [0, 1]) | {"scores": [1]},
        candidates_row("4", [1]),
        candidates_row("5", [0, 1]) | {"responses": ["a", ""]},
        candidates_row("6", [0, 1]) | {"scores": None},
        candidates_row("1", [0, 1]),
    ]
    assert take(made(Candidates, rows), [1, 2]).skipped == {
        "duplicate_id": 1,
        "empty_response": 1,
        "fewer_than_two_responses": 1,
        "no_quality": 1,
        "qualities_are_not_one_number_of_each_response": 2,
    }


def _judged(call: Any, rows: list[dict[str, Any]], scores: list[float]) -> tuple[EvaluationSet, SetResult]:
    found = Candidates("set", ["file.jsonl"])
    found.downstream = Downstream("m:f", call)
    found.add(Record(i, row) for i, row in enumerate(rows))
    take(found, scores)
    return found, found.measure(QUICK)


def test_the_hook_judges_the_choice_of_the_model_and_of_the_baselines() -> None:
    calls = []

    def longer(chosen: list[dict[str, Any]]) -> list[int]:
        calls.append(chosen)
        return [len(one["response"]) for one in chosen]

    found, result = _judged(longer, [candidates_row("1", [0, 1]), candidates_row("2", [0, 1])], [1, 2, 2, 1])
    assert calls[0] == [
        {"set": "set", "id": "1", "prompt": [{"role": "user", "content": "1"}], "response": "reply x"},
        {"set": "set", "id": "2", "prompt": [{"role": "user", "content": "2"}], "response": "reply "},
    ]
    assert _value(result, "downstream") == (7 + 6) / 2
    assert result.metrics["downstream"].baselines["length"].estimate.value == 7
    assert len(calls) == 3
    assert [item["downstream"] for item in found.items] == [7, 6]
    assert result.headline[-1] == "downstream"


def test_one_number_is_a_value_without_an_interval() -> None:
    metric = _judged(lambda chosen: np.float64(0.25), [candidates_row("1", [0, 1])], [1, 2])[1].metrics["downstream"]
    assert (metric.estimate.value, metric.estimate.low, metric.count) == (0.25, None, 1)
    assert metric.baselines["random"].difference.value == 0.0


def test_candidates_without_qualities_are_judged_by_the_hook_alone() -> None:
    rows = [{"id": "1", "prompt": "p", "responses": ["a", "bb"]}]
    result = _judged(lambda chosen: [True], rows, [1, 2])[1]
    assert list(result.metrics) == list(result.headline) == ["downstream"]
    with pytest.raises(DataError, match="1 of 2 prompts have no quality"):
        _judged(lambda chosen: [1, 1], [*rows, candidates_row("2", [0, 1])], [1, 2, 1, 2])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1.0, 2.0], "returned 2 values, 2 of them finite numbers; expected one number, or 1 numbers"),
        ([float("nan")], "returned 1 values, 0 of them finite numbers"),
        ("good", "returned str; expected one number"),
    ],
)
def test_what_the_hook_must_not_return_is_said(given: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        _judged(lambda chosen: given, [candidates_row("1", [0, 1])], [1, 2])


def test_the_hook_is_named_module_colon_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_judge.py").write_text("def exact(chosen):\n    return 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_downstream("a_judge:exact").call([]) == 1.0
    with pytest.raises(UsageError, match="--downstream a_judge:absent: a_judge has no function or class absent"):
        load_downstream("a_judge:absent")
