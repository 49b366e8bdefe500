"""What a run would do: the wiring of its stages, and when the key of one changes. No Ray."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from wildreward.cli import STAGES, Stage
from wildreward.errors import UsageError
from wildreward.settings.base import ALWAYS_FREE
from wildreward.settings.run import RunSettings
from wildreward.workflow.plan import Step, plan


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    folder = tmp_path / "chats"
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps({"messages": []}) + "\n")
    return folder


def planned(folder: Path, chats: Path, **changes: Any) -> dict[str, Step]:
    stages = {"label": {}, "train": {"config": "minilm"}, "evaluate": {}}
    values = {"output": str(folder), "input": [str(chats)], "stages": stages} | changes
    return {step.name: step for step in plan(RunSettings.parse(values).with_absolute_paths())}


def keys(steps: dict[str, Step]) -> dict[str, str]:
    return {name: step.key for name, step in steps.items()}


def test_each_stage_reads_what_the_earlier_ones_made(tmp_path: Path, chats: Path) -> None:
    steps = planned(
        tmp_path / "run", chats, stages={"dpo": {"policy": "p"}, "label": None, "train": {}, "evaluate": {}}
    )
    assert list(steps) == ["label", "train", "evaluate", "dpo"]
    label, train = steps["label"].output, steps["train"].output
    assert steps["label"].settings.input == (str(chats),)  # type: ignore[attr-defined]
    assert steps["train"].settings.input == (label,)  # type: ignore[attr-defined]
    for name in ("evaluate", "dpo"):
        assert steps[name].settings.checkpoint == f"{train}/checkpoint"  # type: ignore[attr-defined]
        assert steps[name].settings.input == (label,)  # type: ignore[attr-defined]
    assert label == str(tmp_path / "run" / f"label-{steps['label'].key}")
    assert list(steps["label"].inputs) == [str(chats / "a.jsonl")]
    assert steps["train"].inputs == {}


def test_a_reference_may_stand_among_other_inputs(tmp_path: Path, chats: Path) -> None:
    stages = {"label": {}, "train": {}, "evaluate": {"input": ["${label}/wildfb/test", "rewardbench"]}}
    steps = planned(tmp_path, chats, stages=stages)
    assert steps["evaluate"].settings.input == (  # type: ignore[attr-defined]
        f"{steps['label'].output}/wildfb/test",
        "rewardbench",
    )


def test_a_changed_setting_changes_its_stage_and_what_reads_from_it(tmp_path: Path, chats: Path) -> None:
    before = keys(planned(tmp_path, chats))
    train = {"label": {}, "train": {"config": "minilm", "lr": 2e-4}, "evaluate": {}}
    after = keys(planned(tmp_path, chats, stages=train))
    assert [before[name] == after[name] for name in before] == [True, False, False]
    evaluate = {"label": {}, "train": {"config": "minilm"}, "evaluate": {"bootstrap": 10}}
    after = keys(planned(tmp_path, chats, stages=evaluate))
    assert [before[name] == after[name] for name in before] == [True, True, False]


def test_a_changed_input_changes_all_that_follows(tmp_path: Path, chats: Path) -> None:
    before = keys(planned(tmp_path, chats))
    (chats / "b.jsonl").write_text("{}\n")
    added = keys(planned(tmp_path, chats))
    os.utime(chats / "b.jsonl", (1, 1))
    touched = keys(planned(tmp_path, chats))
    assert all(len({before[name], added[name], touched[name]}) == 3 for name in before)


def test_where_it_runs_and_where_it_lies_change_nothing(tmp_path: Path, chats: Path) -> None:
    before = keys(planned(tmp_path / "one", chats))
    train = {"config": "minilm", "threads": 2, "track": ["wandb"]}
    placed = {"label": {"max_cpus": 2, "judge_concurrency": 9}, "train": train, "evaluate": {"replicas": 2}}
    assert keys(planned(tmp_path / "two", chats, address="auto", stages=placed, log_format="json")) == before


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_what_is_called_placement_are_settings_of_the_stage(stage: Stage) -> None:
    cls = stage.settings_class()
    assert set(cls.model_fields) >= cls.PLACEMENT | ALWAYS_FREE


def test_caches_are_shared_by_all_outputs_of_the_run(tmp_path: Path, chats: Path) -> None:
    steps = planned(tmp_path, chats)
    assert steps["label"].settings.judge_cache == str(tmp_path / "judge_cache")  # type: ignore[attr-defined]
    assert steps["evaluate"].settings.score_cache == str(tmp_path / "score_cache")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ({"lable": {}}, "lable is no stage of a run; allowed are label, train"),
        ({}, "at least one of label"),
        ({"label": {"output": "x"}}, "label.output is set by the run itself"),
        ({"label": {"jugde": "x"}}, "stages.label: unknown field jugde; did you mean judge?"),
        ({"label": {"config": "nonsense"}}, "--config nonsense: no such file, and no such preset"),
        ({"evaluate": {}}, "stages.evaluate: checkpoint is required, as this run has no stage train"),
        ({"train": {}, "evaluate": {}}, "stages.train: input is required, as this run has no stage label"),
        (
            {"label": {}, "train": {"input": ["${evaluate}"]}},
            "stages.train.input: found ${evaluate}; allowed are ${label}",
        ),
        ({"label": {}, "train": {"lr": -1}}, "lr: found -1"),
    ],
)
def test_wrong_files_are_refused_by_stage_and_field(
    tmp_path: Path, chats: Path, stages: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as error:
        planned(tmp_path, chats, stages=stages)
    assert said in str(error.value)


def test_other_scorers_need_no_checkpoint_of_this_run(tmp_path: Path, chats: Path) -> None:
    stages = {"evaluate": {"url": "http://127.0.0.1:1", "input": [str(chats)]}}
    assert planned(tmp_path, chats, stages=stages)["evaluate"].settings.checkpoint is None  # type: ignore[attr-defined]
