"""kill -9 of the driver in the middle, then the same command: the same weights as an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl.program import run
from rl.recorder import read_lines
from tests.checkpoints import tiny_checkpoint
from tests.rl.tiny import prompts_file, settings
from wildreward.settings.dpo import DpoSettings

STEPS = 30


def command(given: DpoSettings, directory: Path) -> list[str]:
    path = directory / "config.yaml"
    path.write_text(given.to_yaml(), encoding="utf-8")
    return [sys.executable, "-m", "rl", "--config", str(path), "--address", "local"]


def kill_after(arguments: list[str], checkpoint: Path) -> None:
    """Start the command, and end it by SIGKILL as soon as the checkpoint is there."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": os.getcwd()})
    deadline = time.monotonic() + 240
    while not checkpoint.exists():
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint in four minutes"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.usefixtures("ray_cluster")
def test_killed_and_started_again_ends_with_the_same_weights(start: Path, tmp_path: Path) -> None:
    reward = tiny_checkpoint(tmp_path / "reward")
    prompts_file(tmp_path)
    common = settings(tmp_path, policy=str(start), checkpoint=str(reward), steps=STEPS, checkpoint_every_steps=3)
    undisturbed = common.model_copy(update={"output": str(tmp_path / "undisturbed")})
    killed = common.model_copy(update={"output": str(tmp_path / "killed")})
    checkpoints = tmp_path / "killed" / "checkpoints"
    kill_after(command(killed, tmp_path), checkpoints / "step_000003")
    assert not (checkpoints / f"step_{STEPS:06d}").exists()
    run(killed)
    run(undisturbed)
    one, other = (tmp_path / name / "policy" / "model.safetensors" for name in ("killed", "undisturbed"))
    assert one.read_bytes() == other.read_bytes()
    rows = [read_lines(tmp_path / name / "metrics.jsonl") for name in ("killed", "undisturbed")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for name in ("reward/mean", "loss", "kl"):
        assert [row.get(name) for row in rows[0]] == [row.get(name) for row in rows[1]]
