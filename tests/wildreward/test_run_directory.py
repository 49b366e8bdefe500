"""What the same command means the second time."""

from pathlib import Path

import pytest

from wildreward.errors import UsageError
from wildreward.run_directory import facts, finish, open_run
from wildreward.settings.train import TrainSettings


def settings(output: Path, **values: object) -> TrainSettings:
    return TrainSettings.parse({"input": ["a"], "output": str(output), **values})


def test_a_run_is_new_then_resumed_then_done(tmp_path: Path) -> None:
    assert open_run(settings(tmp_path), []) == "new"
    assert open_run(settings(tmp_path), []) == "resume"
    finish(str(tmp_path), {"best_step": 3})
    assert open_run(settings(tmp_path), []) == "done"
    assert facts(str(tmp_path)) == {"best_step": 3, "run_id": ""}


def test_a_changed_setting_is_named_and_a_free_one_is_not(tmp_path: Path) -> None:
    open_run(settings(tmp_path), [])
    assert open_run(settings(tmp_path, threads=4), [], free={"threads"}) == "resume"
    with pytest.raises(UsageError, match=r"other settings: betas: \[0.9, 0.999\] -> \[0.8, 0.9\]\."):
        open_run(settings(tmp_path, betas=[0.8, 0.9]), [])


def test_overwrite_deletes_what_the_stage_owns_and_nothing_else(tmp_path: Path) -> None:
    open_run(settings(tmp_path), [])
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    finish(str(tmp_path), {})
    assert open_run(settings(tmp_path, lr=1.0, overwrite=True), ["checkpoint"]) == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "settings.yaml"]


def test_a_setting_the_earlier_version_did_not_know_has_its_default(tmp_path: Path) -> None:
    open_run(settings(tmp_path), [])
    path = tmp_path / "settings.yaml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("label_smoothing")))
    assert open_run(settings(tmp_path), []) == "resume"
    with pytest.raises(UsageError, match=r"label_smoothing: 0.0 -> 0.1"):
        open_run(settings(tmp_path, label_smoothing=0.1), [])
