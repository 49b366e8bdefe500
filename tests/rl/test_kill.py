"""Ended in the middle, by whatever and wherever, then the same command: the weights of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from rl.lines import read_lines
from rl.loop import OnlineDpo
from rl.program import improve, run
from tests.checkpoints import tiny_checkpoint
from tests.rl.tiny import ShareOfE, prompts_file, settings
from wildreward.errors import WildrewardError
from wildreward.settings.dpo import DpoSettings

STEPS = 30

pytestmark = pytest.mark.usefixtures("ray_cluster")


def command(given: DpoSettings, directory: Path) -> list[str]:
    path = directory / "config.yaml"
    path.write_text(given.to_yaml(), encoding="utf-8")
    return [sys.executable, "-m", "rl", "--config", str(path), "--address", "local"]


def ended_after(arguments: list[str], checkpoint: Path, number: signal.Signals) -> tuple[int, str]:
    """Start the command, and end it by the signal as soon as the checkpoint is there; its exit code and stderr."""
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 240
    while not checkpoint.exists():
        assert process.poll() is None, "the run ended before its checkpoint"
        assert time.monotonic() < deadline, "no checkpoint in four minutes"
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate()[1]
    return process.returncode, said


def equal(one: Path, other: Path) -> None:
    """Weights to the last bit, and every step's measures."""
    files = [path / "policy" / "model.safetensors" for path in (one, other)]
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = [list(read_lines(path / "metrics.jsonl")) for path in (one, other)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for name in ("reward/mean", "loss", "kl", "staleness", "eval/reward"):
        assert [row.get(name) for row in rows[0]] == [row.get(name) for row in rows[1]]


def test_a_driver_that_is_terminated_and_then_killed_ends_with_the_same_weights(start: Path, tmp_path: Path) -> None:
    reward = tiny_checkpoint(tmp_path / "reward")
    prompts_file(tmp_path)
    common = settings(tmp_path, policy=str(start), checkpoint=str(reward), steps=STEPS, checkpoint_every_steps=3)
    undisturbed = common.model_copy(update={"output": str(tmp_path / "undisturbed")})
    killed = common.model_copy(update={"output": str(tmp_path / "killed")})
    checkpoints, arguments = tmp_path / "killed" / "checkpoints", command(killed, tmp_path)
    code, said = ended_after(arguments, checkpoints / "step_000003", signal.SIGTERM)
    assert code == 130
    assert "interrupted; the same command continues where it stopped" in said
    assert "Traceback" not in said
    ended_after(arguments, checkpoints / "step_000009", signal.SIGKILL)
    assert not (checkpoints / f"step_{STEPS:06d}").exists()
    run(killed)
    run(undisturbed)
    equal(tmp_path / "killed", tmp_path / "undisturbed")


def kill(actor: Any) -> None:
    os.kill(ray.get(actor.__ray_call__.remote(lambda self: os.getpid())), signal.SIGKILL)


def test_with_rollouts_in_flight_any_actor_may_be_killed(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staleness 1: what was in flight at the checkpoint is written again with the weights it was ordered with."""
    common = settings(tmp_path, policy=str(start), steps=10, staleness=1, eval_every_steps=5, scorers=2)
    undisturbed = common.model_copy(update={"output": str(tmp_path / "undisturbed")})
    killed = common.model_copy(update={"output": str(tmp_path / "killed")})
    improve(undisturbed, ShareOfE)
    keep = OnlineDpo._keep

    def killing(self: OnlineDpo) -> None:
        keep(self)
        roles = self.roles
        victims = {3: roles.engines[0], 4: roles.scorers[1], 5: roles.references[0], 7: roles.learner.workers[0]}
        if self.state.step in victims:
            kill(victims[self.state.step])

    monkeypatch.setattr(OnlineDpo, "_keep", killing)
    with pytest.raises(WildrewardError, match="the same command continues from the last checkpoint"):
        improve(killed, ShareOfE)
    assert [row["step"] for row in read_lines(tmp_path / "killed" / "metrics.jsonl")][-1] == 7
    monkeypatch.setattr(OnlineDpo, "_keep", keep)
    improve(killed, ShareOfE)
    assert [row["staleness"] for row in read_lines(tmp_path / "killed" / "metrics.jsonl") if "loss" in row] == [0] + [
        1
    ] * 9
    equal(tmp_path / "killed", tmp_path / "undisturbed")
