"""Two evaluations on the same items: hand-computed differences, pairing, matching, and files read again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.wildreward.benchmarks.sets import QUICK, made, score
from wildreward.benchmarks.pairs import Pairs
from wildreward.benchmarks.rated import Rated
from wildreward.comparison import Evaluated, compare, comparison_json
from wildreward.comparison_tables import comparison_html, print_comparison
from wildreward.errors import DataError, UsageError
from wildreward.evaluation import Evaluation, evaluate, fresh_copies
from wildreward.evaluation_files import read_evaluation, write_evaluation
from wildreward.reward_model import Score
from wildreward.scorer import Conversation

NOISE = np.random.default_rng(0).normal(size=100)


def _number(messages: Conversation) -> int:
    return int(messages[-1]["content"].split()[1])


def _pairs(numbers: range = range(40)) -> Pairs:
    rows: list[dict[str, Any]] = [
        {"id": f"p{i}", "subset": "ab"[i % 2], "prompt": "hi", "chosen": f"good {i}", "rejected": f"bad {i}"}
        for i in numbers
    ]
    found = made(Pairs, rows)
    assert isinstance(found, Pairs)
    found.name = "pairs"
    return found


def _evaluation(right: Callable[[int], bool], numbers: range = range(40)) -> Evaluation:
    """A model that is right on these pairs, with a margin that does not matter."""

    def score_all(conversations: list[Conversation]) -> list[Score]:
        signs = [1 if m[-1]["content"].startswith("good") == right(_number(m)) else -1 for m in conversations]
        return [score(sign * (1 + NOISE[_number(m)] ** 2)) for sign, m in zip(signs, conversations, strict=True)]

    return evaluate([_pairs(numbers)], score_all, QUICK)


def _noise(sign: int) -> Callable[[list[Conversation]], list[Score]]:
    return lambda talks: [score(sign * NOISE[_number(messages)]) for messages in talks]


HALF, MOST = _evaluation(lambda i: i < 20), _evaluation(lambda i: i < 30)


def test_the_difference_is_that_of_the_same_items_and_its_interval_is_paired() -> None:
    found = compare([Evaluated.of("half", HALF), Evaluated.of("most", MOST)], QUICK).sets["pairs"]
    accuracy = found.metrics["accuracy"]
    said = accuracy.others["most"]
    assert (found.matched, accuracy.count) == (40, 40)
    assert (accuracy.first.value, said.value.value, said.difference.value) == (0.5, 0.75, 0.25)
    # Only the ten pairs on which they differ vary: sd sqrt(0.25 * 0.75 / 40) = 0.068, and not 0.104 as of two samples.
    assert said.difference.low is not None
    assert said.difference.high is not None
    assert said.difference.high - said.difference.low == pytest.approx(2 * 1.96 * 0.068, abs=0.06)
    assert said.verdict == "better"
    assert said.p is not None
    assert said.p < 0.05
    assert found.metrics["a/accuracy"].others["most"].difference.value == pytest.approx(0.25)


def test_a_model_against_itself_differs_by_exactly_nothing() -> None:
    found = compare([Evaluated.of("one", HALF), Evaluated.of("again", HALF)], QUICK).sets["pairs"]
    for name, metric in found.metrics.items():
        said = metric.others["again"]
        if not metric.count:
            assert said.verdict == "too few items"
            continue
        if metric.first.value is None:  # margins that are all alike have no correlation
            continue
        assert (said.difference.value, said.difference.low, said.difference.high) == (0.0, 0.0, 0.0), name
        assert (said.p, said.verdict) == (1.0, "no difference")


def test_worse_and_lower_is_better_are_told_apart() -> None:
    found = compare([Evaluated.of("most", MOST), Evaluated.of("half", HALF)], QUICK).sets["pairs"]
    assert found.metrics["accuracy"].others["half"].verdict == "worse"
    error = found.metrics["ece"].others["half"]
    assert error.difference.value is not None
    assert error.difference.value > 0
    assert error.verdict in {"worse", "no difference"}


def test_only_items_of_both_are_measured_and_the_others_are_counted() -> None:
    fewer = _evaluation(lambda i: i < 20, range(10, 40))
    found = compare([Evaluated.of("all", HALF), Evaluated.of("fewer", fewer)], QUICK).sets["pairs"]
    assert (found.matched, found.left_out) == (30, {"all": 10, "fewer": 0})
    assert found.metrics["accuracy"].first.value == pytest.approx(1 / 3)
    said = found.metrics["accuracy"].others["fewer"]
    assert (said.difference.value, said.difference.low, said.difference.high) == (0.0, 0.0, 0.0)


def test_an_id_with_other_texts_is_no_match() -> None:
    evaluated = Evaluated.of("other", HALF)
    items = [dict(item) for item in evaluated.sets["pairs"].items]
    for item in items[:4]:
        item["chars_chosen"] += 1
    other = Evaluated("other", {"pairs": replace(evaluated.sets["pairs"], items=items)})
    assert compare([Evaluated.of("one", HALF), other], QUICK).sets["pairs"].left_out == {"one": 4, "other": 4}


def test_what_has_nothing_in_common_is_an_error_and_sets_of_one_alone_are_named() -> None:
    one = Evaluated.of("one", HALF)
    with pytest.raises(DataError, match="nothing to compare: pairs: not in empty"):
        compare([one, Evaluated("empty", {})], QUICK)
    with pytest.raises(DataError, match="pairs: no item is in all of one, far with the same id"):
        compare([one, Evaluated.of("far", _evaluation(lambda i: True, range(50, 90)))], QUICK)
    more = Evaluated("more", dict(one.sets) | {"extra": one.sets["pairs"]})
    assert compare([one, more], QUICK).not_compared == {"extra": "not in one"}


def test_too_few_items_give_values_and_no_verdict() -> None:
    few = _evaluation(lambda i: True, range(5))
    said = compare([Evaluated.of("all", HALF), Evaluated.of("few", few)], QUICK).sets["pairs"].metrics["accuracy"]
    assert (said.others["few"].p, said.others["few"].verdict) == (None, "too few items")
    assert said.others["few"].value.value == 1.0


def test_an_evaluation_that_was_written_compares_as_it_did_in_memory(tmp_path: Path) -> None:
    rows = [{"prompt": "hi", "response": f"good {i}", "rating": i % 5, "preferred": i % 2 == 0} for i in range(60)]
    sets = [_pairs(), made(Rated, rows)]
    copies = fresh_copies(sets)
    both = [evaluate(given, _noise(sign), QUICK) for sign, given in ((1, sets), (-1, copies))]
    for name, evaluation in zip("ab", both, strict=True):
        write_evaluation(str(tmp_path / name), evaluation, {}, QUICK)
    read = [read_evaluation(str(tmp_path / "a"), "a"), read_evaluation(str(tmp_path / "b" / "results.json"), "b")]
    in_memory = [Evaluated.of(name, evaluation) for name, evaluation in zip("ab", both, strict=True)]
    assert comparison_json(compare(read, QUICK), QUICK) == comparison_json(compare(in_memory, QUICK), QUICK)


def test_the_tables_name_everything_and_json_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    fewer = _evaluation(lambda i: i < 20, range(10, 40))
    comparison = compare([Evaluated.of("all", MOST), Evaluated.of("fewer", fewer)], QUICK)
    print_comparison(comparison)
    shown = capsys.readouterr().out
    for wanted in ("first: all", "30 items matched by id; without a match: 10 of all", "accuracy", "worse"):
        assert wanted in shown
    page = comparison_html(comparison, ["all", "fewer"])
    assert "a/accuracy" in page
    assert json.loads(json.dumps(comparison_json(comparison, QUICK), allow_nan=False))["format"].endswith("/1")


def test_what_is_no_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no evaluation there"):
        read_evaluation(str(tmp_path))
    path = tmp_path / "results.json"
    for text, said in (("{", "not valid JSON"), ('{"format": "other/2"}', "found 'other/2'; expected 'wildreward-eva")):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            read_evaluation(str(path))
