"""Checkpoints are whole or not there, and one run's output is never mixed with another's."""

from collections import Counter
from pathlib import Path

import pytest

from rl.checkpoints import Checkpoints, State
from wildreward.errors import CheckpointError


def saving(directory: str) -> None:
    (Path(directory) / "optimizer.pt").write_bytes(b"state")


def test_the_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = State(4, 3, 60, Counter(tie=2), {0: [[1.0, None]], 4: [[2.0, 3.0]]}, 1.5)
    Checkpoints(tmp_path, keep=2).write(state, saving)
    found = Checkpoints(tmp_path, keep=2).latest()
    assert found is not None
    assert found[1] == state
    assert (found[0] / "optimizer.pt").read_bytes() == b"state"


def test_a_checkpoint_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
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
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3):
        checkpoints.write(State(step), saving)
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["step_000002", "step_000003"]


def test_an_unreadable_state_is_named(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path, keep=2).write(State(1), saving)
    (path / "state.json").write_text("[", encoding="utf-8")
    with pytest.raises(CheckpointError, match="step_000001"):
        Checkpoints(tmp_path, keep=2).latest()
