"""Prompts from a bucket, checkpoints, policies and all files of a run in a bucket; continued from there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rl.tiny import ShareOfE, conversations, settings
from tests.s3 import s3_client
from wildreward import storage
from wildreward.settings.base import read_yaml
from wildreward.settings.dpo import DpoSettings

OUT = "s3://runs/out"


def test_a_run_lives_in_a_bucket_and_is_continued_from_there(start: Path, tmp_path: Path, s3: dict[str, str]) -> None:
    client = s3_client(s3)
    rows = "".join(json.dumps({"messages": item}) + "\n" for item in conversations())
    client.put_object(Bucket="runs", Key="in/chats.jsonl", Body=rows.encode())
    local = settings(tmp_path, policy=str(start), steps=4, checkpoint_every_steps=1, staleness=1)
    given = local.model_copy(update={"input": ("s3://runs/in",), "output": OUT})
    config = tmp_path / "config.yaml"
    config.write_text(given.to_yaml())
    code = "import sys; from tests.rl.test_s3 import two_runs; two_runs(*sys.argv[1:])"
    environment = os.environ | s3 | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", code, str(config), str(tmp_path / "plain")],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {item["Key"] for item in client.list_objects_v2(Bucket="runs", Prefix="out/")["Contents"]}
    names = {name.split("/")[1] for name in found}
    assert names == {
        "settings.yaml", "done.json", "checkpoints", "policy", "policy_best", "metrics.jsonl", "samples.jsonl",
        "tensorboard", "summary.json", "report.html",
    }  # fmt: skip
    steps = {name.split("/")[2] for name in found if name.startswith("out/checkpoints/")}
    assert {"step_000003", "step_000004"} <= steps <= {f"step_{step:06d}" for step in range(1, 5)}
    lines = client.get_object(Bucket="runs", Key="out/metrics.jsonl")["Body"].read().splitlines()
    assert [row["step"] for row in map(json.loads, lines) if "loss" in row] == [1, 2, 3, 4]
    weights = client.get_object(Bucket="runs", Key="out/policy/model.safetensors")["Body"].read()
    assert weights == (tmp_path / "plain" / "policy" / "model.safetensors").read_bytes()


def two_runs(config: str, plain: str) -> None:
    """In a process of its own, whose Ray workers inherit the way to the bucket; one cluster for all runs."""
    from rl.program import improve
    from wildreward.cluster import cluster

    given = DpoSettings.model_validate(read_yaml(Path(config)))
    with cluster("local"):
        improve(given.model_copy(update={"steps": 2}), ShareOfE)
        assert storage.exists(storage.refreshed(f"{OUT}/checkpoints/step_000002/behind/weights.json"))
        improve(given, ShareOfE)
        improve(given.model_copy(update={"output": plain}), ShareOfE)


def test_a_bucket_that_is_not_there_is_one_clear_error(
    start: Path, tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wildreward.cli import main

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    arguments = [
        "dpo",
        "--policy",
        str(start),
        "--callable",
        "tests.rl.rules:length",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main([*arguments, "--input", "s3://nobody/in"]) == 2
