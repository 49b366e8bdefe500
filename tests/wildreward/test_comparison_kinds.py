"""Every kind of evaluation set, written, read again and compared: nothing is lost on the way."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wildreward.benchmarks import rows
from tests.wildreward.benchmarks.sets import made, scalar, score
from wildreward.benchmarks.candidates import Candidates
from wildreward.benchmarks.downstream import Downstream
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.inputs import KINDS
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.rewardbench import COUNTS as SUBSETS
from wildreward.benchmarks.rmbench import COUNTS as DOMAINS
from wildreward.comparison import Comparison, Evaluated, compare, comparison_json
from wildreward.comparison_tables import comparison_html, print_comparison
from wildreward.errors import DataError
from wildreward.evaluation import Evaluation, evaluate, fresh_copies
from wildreward.evaluation_files import read_evaluation, write_evaluation
from wildreward.records import Record
from wildreward.reward_model import Score
from wildreward.scorer import Conversation, Unscored

SIZE = 11
"""Rows of each part: enough for an interval."""

FEW = MeasureOptions(replicates=30)

Scoring = Callable[[list[Conversation]], list[Score | Unscored]]


def _hashed(salt: str, one: Callable[..., Score] = score) -> Scoring:
    """A model with scores in 1..4 that only depend on the text; one text in fifty it cannot score."""

    def number(messages: Conversation) -> float:
        return 1 + 3 * zlib.crc32((salt + repr(messages)).encode()) / 2**32

    def score_all(talks: list[Conversation]) -> list[Score | Unscored]:
        values = map(number, talks)
        probs = [] if one is scalar else [(0.1, 0.2, 0.3, 0.4)]
        return [Unscored("nan_score") if value > 3.94 else one(value, *probs) for value in values]

    return score_all


def _pairs(i: int) -> rows.Row:
    return {"id": f"p{i}", "subset": "ab"[i % 2], "prompt": f"{i}", "chosen": "x" * (i % 5 + 1), "rejected": "# y"}


def _rated(i: int) -> rows.Row:
    return {
        "conversation_hash": f"c{i // 4}", "turn": i // 2, "user": f"u{i // 8}", "prompt": f"{i // 2}",
        "response": f"reply {i}", "rating": i % 5 + 1, "preferred": None if i % 9 == 0 else i % 2 == 0,
    }  # fmt: skip


def _candidates(i: int) -> rows.Row:
    return rows.candidates_row(str(i), [i % 3, 1.5, 0, 2][: 2 + i % 3], subset="ab"[i % 2])


def _rows_of(kind: str) -> Iterator[rows.Row]:
    """A few rows of every part, unlike in the number of their replies where the kind allows it."""
    if kind in {"pairs", "rated", "candidates"}:
        yield from ({"pairs": _pairs, "rated": _rated, "candidates": _candidates}[kind](i) for i in range(8 * SIZE))
    elif kind == "wildfb":
        yield from (rows.wildfb_row(i % 4 + 1, f"reply {i}") | {"id": str(i)} for i in range(5 * SIZE))
    elif kind == "rewardbench":
        yield from (rows.rewardbench_row(name, i) | {"prompt": f"{i}"} for name in SUBSETS for i in range(SIZE))
    elif kind == "rm-bench":
        yield from (rows.rmbench_row(f"{name}/{i}", name) for name in DOMAINS for i in range(SIZE))
    elif kind == "ppe-human":
        yield from rows.official_rows(kind)[: 8 * SIZE]
    else:
        parts: dict[str, list[rows.Row]] = {}
        for row in rows.official_rows(kind):
            part = str(row.get("subset") or row.get("source") or sorted(row))
            parts.setdefault(part, []).append(row)
        yield from (row for part in parts.values() for row in part[: 2 * SIZE])


def _set_of(kind: str) -> EvaluationSet:
    """With a row at its end that nobody can use."""
    cls = next(known for known in KINDS if known.kind == kind)
    return made(cls, [*_rows_of(kind), dict.fromkeys(cls.needs)])


def _evaluations(
    kind: str, scorings: list[Scoring], downstream: list[Downstream | None] | None = None
) -> list[Evaluation]:
    sets = [_set_of(kind)]
    made_of = []
    for scoring, function in zip(scorings, downstream or [None] * len(scorings), strict=True):
        copies = fresh_copies(sets)
        copies[0].downstream = function
        made_of.append(evaluate(copies, scoring, FEW))
    return made_of


def _read(evaluations: list[Evaluation], folder: Path) -> list[Evaluated]:
    for name, evaluation in zip("ab", evaluations, strict=False):
        write_evaluation(str(folder / name), evaluation, {}, FEW)
    return [read_evaluation(str(folder / name), name) for name, _ in zip("ab", evaluations, strict=False)]


def _no_difference(comparison: Comparison) -> None:
    for found in comparison.sets.values():
        assert not found.notes
        for name, metric in found.metrics.items():
            said = metric.others["again"]
            if said.verdict == "too few items":
                assert metric.first.value is None or metric.first.low is None, name
                continue
            assert (said.difference.value, said.difference.low, said.difference.high) == (0.0, 0.0, 0.0), name
            assert (said.p, said.verdict) == (1.0, "no difference"), name


@pytest.mark.parametrize("kind", [known.kind for known in KINDS])
def test_a_set_read_again_measures_as_it_did_and_compares_as_in_memory(kind: str, tmp_path: Path) -> None:
    evaluations = _evaluations(kind, [_hashed("one"), _hashed("two")])
    one, two = _read(evaluations, tmp_path)

    alone = compare([one, Evaluated("again", one.sets)], FEW)
    _no_difference(alone)
    measured = evaluations[0].results["set"][1]
    whole = alone.sets["set"]
    assert whole.matched == len(evaluations[0].results["set"][0].scored)
    assert {name: metric.estimate for name, metric in measured.metrics.items()} == {
        name: metric.first for name, metric in whole.metrics.items() if name in measured.metrics
    }
    assert len(whole.metrics) == len(measured.metrics) + sum(map(len, measured.subsets.values()))
    assert sum(metric.first.low is not None for metric in whole.metrics.values()) > 2

    found = compare([one, two], FEW)
    assert any(left for left in found.sets["set"].left_out.values())
    assert any(
        said.difference.value for metric in found.sets["set"].metrics.values() for said in metric.others.values()
    )
    in_memory = [Evaluated.of(name, evaluation) for name, evaluation in zip("ab", evaluations, strict=True)]
    assert comparison_json(found, FEW) == comparison_json(compare(in_memory, FEW), FEW)


def _words(chosen: list[dict[str, Any]]) -> list[float]:
    return [float(len(one["response"]) + int(one["id"].rpartition("/")[2]) % 3) for one in chosen]


@pytest.mark.parametrize("kind", ["candidates", "ppe-correctness"])
def test_downstream_numbers_of_each_reply_are_compared_as_they_were_measured(kind: str, tmp_path: Path) -> None:
    function = Downstream("m:words", _words)
    evaluations = _evaluations(kind, [_hashed("one"), _hashed("two")], [function, function])
    one, two = _read(evaluations, tmp_path)
    _no_difference(compare([one, Evaluated("again", one.sets)], FEW))
    whole = compare([one, Evaluated("again", one.sets)], FEW).sets["set"].metrics["downstream"]
    assert whole.first == evaluations[0].results["set"][1].metrics["downstream"].estimate
    metric = compare([one, two], FEW).sets["set"].metrics["downstream"]
    items = [{item["id"]: item for item in read.sets["set"].items if item["skipped"] is None} for read in (one, two)]
    both = [key for key in items[0] if key in items[1]]
    by_hand = sum(items[1][key]["downstream"] - items[0][key]["downstream"] for key in both) / len(both)
    assert metric.others["b"].difference.value == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        (
            [Downstream("m:one", lambda chosen: 0.5)] * 2,
            "downstream: m:one gives one number for all replies, which has nothing to be paired by",
        ),
        ([Downstream("m:f", _words), Downstream("m:g", _words)], "downstream: m:f in a, m:g in b"),
        ([Downstream("m:f", _words), None], "downstream: m:f in a, no function in b"),
    ],
)
def test_downstream_numbers_that_say_nothing_of_the_difference_are_left_out_and_named(
    functions: list[Downstream | None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = compare(_read(_evaluations("candidates", [_hashed("one"), _hashed("two")], functions), tmp_path), FEW)
    found = comparison.sets["set"]
    assert list(found.notes) == [said]
    assert "downstream" not in {*found.metrics, *found.headline}
    assert "best_of_4" in found.metrics
    print_comparison(comparison)
    assert f"set: not compared: {said}" in capsys.readouterr().out
    assert said in comparison_html(comparison, ["a", "b"])


def test_candidates_that_only_a_function_judges_compare_by_it_alone_or_not_at_all(tmp_path: Path) -> None:
    bare = [{"id": str(i), "prompt": str(i), "responses": [f"x{i}", f"yy {i}"]} for i in range(20)]

    def evaluated(function: Downstream) -> list[Evaluated]:
        found = made(Candidates, [])
        found.downstream = function
        found.add(Record(i, row) for i, row in enumerate(bare))
        copies = fresh_copies([found])
        both = [evaluate([found], _hashed("one"), FEW), evaluate(copies, _hashed("two"), FEW)]
        return _read(both, tmp_path)

    assert list(compare(evaluated(Downstream("m:f", _words)), FEW).sets["set"].metrics) == ["downstream"]
    with pytest.raises(DataError, match="nothing to compare: set: downstream: m:one gives one number"):
        compare(evaluated(Downstream("m:one", lambda chosen: 1.0)), FEW)


@pytest.mark.parametrize("kind", ["wildfb", "rated"])
def test_a_model_without_class_probabilities_compares_by_what_both_have(kind: str, tmp_path: Path) -> None:
    found = compare(_read(_evaluations(kind, [_hashed("one"), _hashed("two", scalar)]), tmp_path), FEW).sets["set"]
    assert found.metrics["spearman"].others["b"].difference.value is not None
    [note] = found.notes
    assert note.endswith(": not every model has it")
    assert ("mae" if kind == "wildfb" else "rating_calibration_error") in note
    assert all(metric.others for metric in found.metrics.values())


def test_the_same_id_with_another_truth_is_no_match() -> None:
    [evaluation] = _evaluations("candidates", [_hashed("one")])
    one = Evaluated.of("one", evaluation)
    other = [dict(item) for item in one.sets["set"].items]
    changed = next(item for item in other if item["skipped"] is None)
    changed["quality"] = [9.0] * len(changed["quality"])
    sets = {"set": type(one.sets["set"])(Candidates, ["file"], other)}
    assert compare([one, Evaluated("two", sets)], FEW).sets["set"].left_out == {"one": 1, "two": 1}
