"""A reward model is trained, published, resumed and refused as documented."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from train.program import run
from wildreward.errors import UsageError
from wildreward.reward_model import RewardModel
from wildreward.settings.train import TrainSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def trained(
    tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, ray_cluster: None
) -> TrainSettings:
    output = str(tmp_path_factory.mktemp("run") / "out")
    settings = TrainSettings(output=output, evaluate_every_steps=10, zero_stage=0, **tiny_settings)
    run(settings)
    return settings


def records(settings: TrainSettings, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (Path(settings.output) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def weights(directory: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(directory) / "model.safetensors")


def largest_difference(a: str | Path, b: str | Path) -> float:
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


def reply(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "tell me about the tree"}, {"role": "assistant", "content": text}]


def test_the_checkpoint_tells_good_replies_from_bad(trained: TrainSettings) -> None:
    model = RewardModel.load(f"{trained.output}/checkpoint")
    good, bad = model.score([reply("great perfect thanks house"), reply("wrong bad nonsense house")])
    assert good.score - bad.score > 1


def test_a_coral_checkpoint_is_a_scalar_model_with_rising_cutpoints(trained: TrainSettings) -> None:
    model = RewardModel.load(f"{trained.output}/checkpoint")
    assert model.head == "coral"
    assert model.cutpoints is not None
    assert list(model.cutpoints) == sorted(model.cutpoints)
    assert weights(f"{trained.output}/checkpoint")["classifier.weight"].shape[0] == 1


def test_metrics_are_written_as_lines_and_events_and_the_state_is_gone(trained: TrainSettings) -> None:
    train, validation = records(trained, "train"), records(trained, "validation")
    assert [line["step"] for line in train] == list(range(1, 31))
    assert [line["step"] for line in validation] == [10, 20, 30]
    assert train[-1]["loss"] < train[0]["loss"]
    assert all(0 <= line["padding_frac"] < 0.5 for line in train)
    assert list((Path(trained.output) / "tensorboard").glob("events*"))
    assert not (Path(trained.output) / "run").exists()


def test_the_published_checkpoint_is_the_best_by_validation(trained: TrainSettings) -> None:
    done = json.loads((Path(trained.output) / "done.json").read_text())
    best = min(records(trained, "validation"), key=lambda line: line["mae"])
    assert done["validation"]["mae"] == best["mae"]
    assert done["validation_rows"] == 16


def test_few_validation_rows_give_no_calibration_and_that_is_said(trained: TrainSettings) -> None:
    said = "8 conversations; at least 50 are needed"
    done = json.loads((Path(trained.output) / "done.json").read_text())
    assert (done["calibration"]["method"], done["calibration"]["reason"]) == ("none", said)
    assert f"There is no calibration: {said}." in (Path(trained.output) / "report.html").read_text()
    model = RewardModel.load(f"{trained.output}/checkpoint")
    assert (model.calibration, model.calibrated) == (None, False)


def test_a_finished_run_says_so_and_does_nothing(trained: TrainSettings, capsys: pytest.CaptureFixture[str]) -> None:
    before = (Path(trained.output) / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    run(trained)
    assert "done already" in capsys.readouterr().out
    assert (Path(trained.output) / "checkpoint" / "model.safetensors").stat().st_mtime_ns == before


def test_other_settings_on_the_same_output_are_refused_by_name(trained: TrainSettings) -> None:
    with pytest.raises(UsageError, match=r"seed: 0 -> 1; lr: 0.003 -> 0.001\. Give"):
        run(trained.model_copy(update={"lr": 1e-3, "seed": 1}))


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_two_workers_have_the_losses_of_one(
    trained: TrainSettings, tiny_settings: dict[str, Any], tmp_path: Path, zero_stage: int
) -> None:
    """Up to rounding, until Adam has made rounding visible: it divides gradients that should be 0 by their own size."""
    values = {**tiny_settings, "workers": 2, "zero_stage": zero_stage}
    two = TrainSettings(output=f"{tmp_path}/two", evaluate_every_steps=30, **values)
    run(two)
    for alone, together in list(zip(records(trained, "train"), records(two, "train"), strict=True))[:10]:
        assert together["loss"] == pytest.approx(alone["loss"], abs=1e-4)
    assert RewardModel.load(f"{two.output}/checkpoint").head == "coral"


def test_a_run_killed_with_its_driver_ends_with_the_same_weights(
    tiny_settings: dict[str, Any], make_backbone: Callable[..., Path], tmp_path: Path
) -> None:
    values = {**tiny_settings, "backbone": str(make_backbone(dropout=0.1)), "max_steps": 40, "evaluate_every_steps": 4}
    undisturbed = TrainSettings(output=f"{tmp_path}/undisturbed", **values)
    run(undisturbed)
    killed = TrainSettings(output=f"{tmp_path}/killed", address="local", **values)
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(killed.model_dump(mode="json")))
    command = [sys.executable, "-m", "train", "--config", str(config)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    # The third: the folder of the first is there before Ray Train has taken note of it.
    while not list(Path(killed.output).glob("run/ckpt_000012*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (Path(killed.output) / "done.json").exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "continues after step" in again.stdout
    assert largest_difference(f"{undisturbed.output}/last", f"{killed.output}/last") == 0
    assert [line["step"] for line in records(killed, "train")] == list(range(1, 41))
