"""A search space is read or refused by the field's name, and its trials are the same each time."""

import math
from typing import Any

import pytest

from wildreward.search_space import constraint, parse, trials


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, r"lr: found 3; allowed is a list of values \(all are tried\), or one of grid, choice, uniform"),
        ([], r"lr: grid: found \[\]; a list of values is needed"),
        ([1, 2, 1], r"lr: grid: found \[1, 2, 1\]; 1 is there twice"),
        ({"normal": [0, 1]}, r"lr: found normal; allowed is"),
        ({"uniform": [0, 1], "choice": [2]}, r"lr: found uniform, choice; allowed is"),
        ({"uniform": [2, 1]}, r"lr: uniform: found \[2, 1\]; \[low, high\] with low < high is needed"),
        ({"uniform": [0, "1"]}, r"lr: uniform: found .*; \[low, high\] of numbers is needed"),
        ({"loguniform": [0, 1]}, r"lr: loguniform: found \[0, 1\]; low must be above 0"),
        ({"randint": [0.5, 3]}, r"lr: randint: found .*; whole numbers are needed"),
        ({"quniform": [0, 1]}, r"lr: quniform: found .*; \[low, high, step\] of numbers is needed"),
        ({"quniform": [0, 1, 2]}, r"the step must be above 0 and at most high - low"),
        ({"grid": [1], "when": "coral"}, r"lr: when: found 'coral'; allowed is \{field: value\}"),
        ({"grid": [1], "when": {"lr": 1}}, r"lr: when: found lr; a knob cannot depend on itself"),
    ],
)
def test_a_knob_that_cannot_be_searched_is_refused(found: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse({"lr": found})


def test_a_condition_names_a_field_without_one() -> None:
    with pytest.raises(ValueError, match=r"c: when: found b, which has a condition itself"):
        parse({"a": [1], "b": {"grid": [1], "when": {"a": 1}}, "c": {"grid": [1], "when": {"b": 1}}})


def test_draws_keep_to_their_range_and_step_and_are_the_same_each_time() -> None:
    space = {
        "lr": {"loguniform": [1e-5, 1e-3]},
        "label_smoothing": {"quniform": [0.0, 0.2, 0.05]},
        "batch_rows": {"qrandint": [8, 30, 8]},
        "epochs": {"randint": [1, 2]},
        "head": {"choice": ["coral", "corn"]},
    }
    found = trials(parse(space), {}, num_samples=200, seed=1)
    assert found == trials(parse(space), {}, num_samples=200, seed=1)
    assert found != trials(parse(space), {}, num_samples=200, seed=2)
    assert all(1e-5 <= trial["lr"] <= 1e-3 for trial in found)
    below = sum(trial["lr"] < 1e-4 for trial in found) / len(found)
    assert math.isclose(below, 0.5, abs_tol=0.1), "as many in one decade as in the other"
    assert {trial["label_smoothing"] for trial in found} == {0.0, 0.05, 0.1, 0.15, 0.2}
    assert {trial["batch_rows"] for trial in found} == {8, 16, 24}
    assert {(trial["epochs"], trial["head"]) for trial in found} == {(n, h) for n in (1, 2) for h in ("coral", "corn")}


def test_a_field_that_is_added_changes_no_other_draw() -> None:
    one = trials(parse({"lr": {"uniform": [0, 1]}}), {}, num_samples=3, seed=0)
    two = trials(parse({"lr": {"uniform": [0, 1]}, "betas": {"uniform": [0, 1]}}), {}, num_samples=3, seed=0)
    assert [trial["lr"] for trial in one] == [trial["lr"] for trial in two]


def test_a_knob_varies_only_where_its_condition_holds() -> None:
    space = {"rank": {"grid": [8, 16], "when": {"lora": [True]}}, "lora": [True, False]}
    found = trials(parse(space), {}, num_samples=1, seed=0)
    assert found == [{"rank": 8, "lora": True}, {"lora": False}, {"rank": 16, "lora": True}]


def test_a_condition_on_what_is_not_varied_looks_at_what_all_trials_start_from() -> None:
    knobs = parse({"cutpoint_start": ["frequencies", "even"], "lr": [1, 2]})
    assert len(trials(knobs, {"head": "coral"}, num_samples=1, seed=0)) == 4
    assert trials(knobs, {"head": "corn"}, num_samples=1, seed=0) == [{"lr": 1}, {"lr": 2}]


def test_a_range_is_said_in_words() -> None:
    knobs = parse({"a": {"quniform": [0.0, 0.2, 0.05], "when": {"b": [1, 2]}}, "c": {"choice": [1, 2]}})
    assert list(map(constraint, knobs)) == ["quniform 0 to 0.2 in steps of 0.05, where b is 1 or 2", "one of 1, 2"]
