"""What is written of a trial is what the next process reads, and ASHA goes on from it."""

import io
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune import records
from tune.asha import ResumableAsha
from tune.records import TrialRecord
from tune.results import rows_of
from tune.watch import Board
from wildreward.settings.tune import TuneSettings

PLAN: dict[str, dict[str, Any]] = {"t000": {"lr": 0.1}, "t001": {"lr": 0.2}, "t002": {"lr": 0.3}}


def evaluation(step: int, value: float | None) -> dict[str, Any]:
    return {"step": step, "evaluation": step // 10, "good_bad_auc": value, "mae": 1.0}


def board(output: Path) -> Board:
    return Board(str(output), PLAN, "good_bad_auc", "max", stream=io.StringIO())


def test_a_trial_is_read_as_it_was_left(tmp_path: Path) -> None:
    assert records.read(str(tmp_path), "t000", {}).state == "waiting"
    records.write_start(str(tmp_path), "t000", {"lr": 0.1}, total_steps=40, tune_id="abc_00000")
    (tmp_path / "trials" / "t000" / "metrics.jsonl").write_text(
        '{"kind": "train", "step": 5}\n{"kind": "validation", "step": 10, "good_bad_auc": 0.6}\n'
    )
    running = board(tmp_path)
    running.evaluated("t000", {**evaluation(20, 0.7), "time_total_s": 3.0, "config": {}})
    found = records.read(str(tmp_path), "t000", {"lr": 0.1})
    assert (found.state, found.step, found.total_steps, found.tune_id) == ("running", 20, 40, "abc_00000")
    assert {step: line["good_bad_auc"] for step, line in found.evaluations.items()} == {10: 0.6, 20: 0.7}
    assert found.evaluations[20] == evaluation(20, 0.7)


def test_how_a_trial_ends_is_told_apart_and_its_checkpoints_go(tmp_path: Path) -> None:
    seen = board(tmp_path)
    for name in PLAN:
        Path(records.run_path(str(tmp_path), name)).mkdir(parents=True)
    records.write_start(str(tmp_path), "t000", PLAN["t000"], total_steps=10, tune_id="x")
    seen.evaluated("t000", evaluation(10, 0.5))
    seen.ended("t000")
    seen.ended("t001")
    records.write_outcome(str(tmp_path), "t002", "failed", "ValueError: no")
    seen.failed("t002")
    again = board(tmp_path)
    assert {name: (found.state, found.error) for name, found in again.trials.items()} == {
        "t000": ("finished", None),
        "t001": ("stopped", None),
        "t002": ("failed", "ValueError: no"),
    }
    assert [Path(records.run_path(str(tmp_path), name)).exists() for name in PLAN] == [False, False, True]


def test_the_board_says_each_event_in_a_log(tmp_path: Path) -> None:
    stream = io.StringIO()
    seen = Board(str(tmp_path), PLAN, "good_bad_auc", "max", stream)
    seen.started("t000")
    seen.evaluated("t000", evaluation(10, 0.61234))
    seen.started("t000")
    seen.ended("t000")
    assert stream.getvalue().splitlines() == [
        "tune: t000 started: lr=0.1",
        "tune: t000 step 10: good_bad_auc 0.6123",
        "tune: t000 started, goes on after step 10: lr=0.1",
        "tune: t000 stopped by ASHA at step 10 (1 of 3 trials done)",
    ]


def test_the_table_has_a_line_a_trial(tmp_path: Path) -> None:
    from rich.console import Console

    seen = board(tmp_path)
    seen.started("t001")
    seen.evaluated("t001", evaluation(10, 0.5))
    console = Console(file=io.StringIO(), width=100)
    console.print(seen.table())
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(name in text for name in (*PLAN, "running", "waiting", "lr=0.2"))


def test_rows_are_the_best_evaluations_and_what_has_none_comes_last() -> None:
    trials = [
        TrialRecord(
            "t000",
            {"lr": 0.1},
            "finished",
            evaluations={10: evaluation(10, 0.7), 20: evaluation(20, 0.7), 30: evaluation(30, 0.6)},
        ),
        TrialRecord("t001", {"lr": 0.2}, "failed", "ValueError: no", evaluations={10: evaluation(10, 0.9)}),
        TrialRecord("t002", {}, "stopped", evaluations={10: evaluation(10, 0.8)}),
        TrialRecord(
            "t003", {"lr": 0.4}, "finished", evaluations={n: evaluation(n, v) for n, v in ((10, None), (20, nan))}
        ),
    ]
    rows = rows_of(trials, TuneSettings(space={"lr": [0.1, 0.2]}))
    assert [(row["trial"], row["lr"], row["step"], row["good_bad_auc"], row["state"]) for row in rows] == [
        ("t002", None, 10, 0.8, "stopped"),
        ("t000", 0.1, 20, 0.7, "finished"),
        ("t001", 0.2, 10, 0.9, "failed"),
        ("t003", 0.4, None, None, "failed"),
    ]
    assert rows[-1]["error"] == "no evaluation with a value of good_bad_auc"


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ("Training failed:\nTraceback\nFloatingPointError: nan\n\ntraining failed; go on", "FloatingPointError: nan"),
        (
            "ray.exceptions.RayTaskError(DataError): x\nwildreward.errors.DataError: row 3",
            "wildreward.errors.DataError: row 3",
        ),
        ("disk full\n", "disk full"),
        ("", "no message"),
    ],
)
def test_of_a_trace_the_exception_that_began_it_is_shown(trace: str, said: str) -> None:
    assert records.cause(trace) == said


def decision(scheduler: ResumableAsha, tune_id: str, number: int, value: float) -> str:
    trial = SimpleNamespace(trial_id=tune_id)
    scheduler.on_trial_add(None, trial)
    return str(scheduler.on_trial_result(None, trial, {"evaluation": number, "good_bad_auc": value}))


def asha(output: Path) -> ResumableAsha:
    made = ResumableAsha(str(output), PLAN, "good_bad_auc", grace=1, reduction_factor=2)
    made.set_search_properties("good_bad_auc", "max")
    return made


def test_asha_goes_on_with_the_evaluations_of_an_earlier_process(tmp_path: Path) -> None:
    assert decision(asha(tmp_path), "x_2", 1, 0.5) == "CONTINUE", (
        "the first of a new sweep has nothing to be worse than"
    )
    for name, value in (("t000", 0.8), ("t001", 0.9)):
        records.write_start(str(tmp_path), name, PLAN[name], 40, tune_id=f"x_{name}")
        board(tmp_path).evaluated(name, evaluation(10, value))
    assert decision(asha(tmp_path), "x_2", 1, 0.5) == "STOP"
    assert decision(asha(tmp_path), "x_2", 1, 0.95) == "CONTINUE"


@pytest.mark.parametrize("value", [None, nan])
def test_asha_decides_nothing_by_a_metric_that_is_undefined(tmp_path: Path, value: float | None) -> None:
    scheduler, trial = asha(tmp_path), SimpleNamespace(trial_id="x_0")
    scheduler.on_trial_add(None, trial)
    result = {"evaluation": 1, "good_bad_auc": value}
    assert scheduler.on_trial_result(None, trial, result) == "CONTINUE"
    scheduler.on_trial_complete(None, trial, result)
