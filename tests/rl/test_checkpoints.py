"""Checkpoints are whole or not there, and one run's output is never mixed with another's."""

from collections import Counter
from pathlib import Path

import pytest

from rl.checkpoints import Checkpoints, State, fetched, publish_policy, staged
from wildreward import storage
from wildreward.errors import CheckpointError
from wildreward.improvement import Rewards


def saving(directory: str) -> None:
    (Path(directory) / "policy").mkdir()
    (Path(directory) / "policy" / "config.json").write_bytes(b"{}")
    (Path(directory) / "optimizer.pt").write_bytes(b"state")


def test_the_state_comes_back_as_it_was(tmp_path: Path) -> None:
    evaluations = {step: {"reward": {"difference": {"mean": step / 8}}} for step in (0, 4)}
    skipped = Counter(tie=2)
    start: dict[str, Rewards] = {"reward": [[1.0, None]]}
    state = State(4, 3, 2, 60, skipped, Counter(empty=1), start, evaluations, 4, 1.5, "prompts", "scorers")
    Checkpoints(str(tmp_path), keep=2).write(state, saving)
    found = Checkpoints(str(tmp_path), keep=2).latest()
    assert found is not None
    assert found[1] == state
    assert Path(found[0], "optimizer.pt").read_bytes() == b"state"


def test_a_checkpoint_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), keep=2)
    checkpoints.write(State(1), saving)

    def killed(directory: str) -> None:
        saving(directory)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(State(2), killed)
    found = checkpoints.latest()
    assert found is not None
    assert found[1].step == 1


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), keep=2)
    for step in (1, 2, 3):
        checkpoints.write(State(step), saving)
    assert names(tmp_path) == ["step_000002", "step_000003"]


def test_the_best_is_kept_until_there_is_a_better_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), keep=1)
    for step, best in ((1, 1), (2, 1), (3, 1)):
        checkpoints.write(State(step, best=best), saving)
    assert names(tmp_path) == ["step_000001", "step_000003"]
    checkpoints.write(State(4, best=4), saving)
    assert names(tmp_path) == ["step_000004"]


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").iterdir())


def test_a_learner_whose_files_are_on_another_machine_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="directory that all nodes share"):
        Checkpoints(str(tmp_path), keep=2).write(State(1), lambda directory: None)
    assert Checkpoints(str(tmp_path), keep=2).latest() is None


def test_in_an_object_store_a_checkpoint_without_its_state_is_not_there(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No renames: files of a half-written one are there, and replaced by the next attempt."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)

    def save(directory: str) -> None:
        with staged(directory) as path:
            (path / "policy").mkdir()
            (path / "policy" / "config.json").write_text("{}")

    def killed(directory: str) -> None:
        save(directory)
        raise KeyboardInterrupt

    checkpoints = Checkpoints("s3://runs/one", keep=1)
    checkpoints.write(State(1), save)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(State(2), killed)
    assert storage.exists("s3://runs/one/checkpoints/step_000002/policy/config.json")
    assert (checkpoints.latest() or ("",))[0].endswith("step_000001")
    final = checkpoints.write(State(2), save)
    assert (checkpoints.latest() or ("",))[0] == final
    assert not storage.exists(storage.refreshed("s3://runs/one/checkpoints/step_000001"))
    assert publish_policy(final, "s3://runs/one") == "s3://runs/one/policy"
    with fetched("s3://runs/one/policy") as path:
        assert (path / "config.json").read_text() == "{}"
        with pytest.raises(FileNotFoundError):  # the bucket of a mistyped name is not made
            storage.copy_directory(str(path), "s3://rums/one")


def test_an_unreadable_state_is_named(tmp_path: Path) -> None:
    path = Checkpoints(str(tmp_path), keep=2).write(State(1), saving)
    Path(path, "state.json").write_text("[", encoding="utf-8")
    with pytest.raises(CheckpointError, match="step_000001"):
        Checkpoints(str(tmp_path), keep=2).latest()
