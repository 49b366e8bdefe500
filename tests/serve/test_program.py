"""`wildreward serve`: what is refused before anything starts, the printed example, and the end by a signal."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serve.app import build
from serve.canary import check_files
from serve.program import run, start
from serve.tokens import token_digests
from wildreward.errors import CheckpointError, UsageError, WildrewardError
from wildreward.settings.serve import ServeSettings

ROOT = Path(__file__).parents[2]


def settings_for(checkpoint: Path, **values: object) -> ServeSettings:
    return ServeSettings.parse({"checkpoint": str(checkpoint), **values})


@pytest.mark.parametrize(
    ("missing", "said"),
    [("config.json", "config.json"), ("model.safetensors", "weights"), ("wildreward_template.json", "--template")],
)
def test_an_incomplete_checkpoint_is_refused_before_anything_starts(
    checkpoint: Path, tmp_path: Path, missing: str, said: str
) -> None:
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    (broken / missing).unlink()
    with pytest.raises(CheckpointError, match=said):
        run(settings_for(broken))


def test_a_template_file_stands_in_for_a_missing_one(checkpoint: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(checkpoint, tmp_path / "bare")
    template = shutil.move(bare / "wildreward_template.json", tmp_path / "template.json")
    check_files(settings_for(bare, template=str(template)))


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(UsageError, match="min_replicas"):
        settings_for(Path("unused"), min_replicas=3, max_replicas=2)
    with pytest.raises(UsageError, match="dtype"):
        settings_for(Path("unused"), dtype="float16")


def test_detaching_from_a_local_cluster_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="--detach"):
        run(settings_for(checkpoint, detach=True))


def test_a_running_serve_on_another_port_is_named(scorer_url: str, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=f"already listens on port {scorer_url.rsplit(':', 1)[1]}"):
        start(settings_for(checkpoint, port=1))


@pytest.mark.usefixtures("ray_cluster")
def test_build_makes_the_application_of_serve_run_from_plain_arguments(checkpoint: Path) -> None:
    assert build({"checkpoint": str(checkpoint), "max_replicas": "2"}) is not None
    with pytest.raises(WildrewardError, match="unknown field chekpoint; did you mean checkpoint"):
        build({"chekpoint": "x"})


def test_no_token_means_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WILDREWARD_SERVE_TOKENS", " , ")
    assert token_digests(ServeSettings(checkpoint="unused")) == []


def test_the_command_serves_prints_a_working_example_and_ends_cleanly_on_sigterm(
    checkpoint: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = subprocess.run(_command(checkpoint, port), capture_output=True, text=True, check=False, timeout=120)
    assert (refused.returncode, "cannot listen" in refused.stderr) == (2, True)

    command = [*_command(checkpoint, port), "--output", str(tmp_path)]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert serving.stdout is not None
    try:
        example = next(line for line in serving.stdout if line.startswith("curl"))
        answer = subprocess.run(["bash", "-c", example], capture_output=True, text=True, check=True).stdout
        assert len(json.loads(answer)["items"][0]["responses"]) == 2
        assert "checkpoint:" in (tmp_path / "settings.yaml").read_text()
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
    finally:
        _end(serving)


def _command(checkpoint: Path, port: str) -> list[str]:
    return [sys.executable, "-m", "serve", "--checkpoint", str(checkpoint), "--port", port, "--address", "local"]


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.kill()
