"""A reward model is trained, published, resumed and refused as documented."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests
import pytest
import ray
import torch
import yaml
from safetensors.torch import load_file

from tests.pipelines.label_kills import wait_for
from tests.pipelines.prometheus import samples
from train.program import run
from wildreward.cli import main
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


def test_two_workers_of_zero_3_have_the_losses_of_one(
    trained: TrainSettings, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    """Up to rounding, until Adam has made rounding visible: it divides gradients that should be 0 by their own size."""
    two = TrainSettings(
        output=f"{tmp_path}/two", evaluate_every_steps=30, **{**tiny_settings, "workers": 2, "zero_stage": 3}
    )
    run(two)
    assert first_losses(two) == pytest.approx(first_losses(trained), abs=1e-4)
    assert RewardModel.load(f"{two.output}/checkpoint").head == "coral"


def first_losses(settings: TrainSettings) -> list[float]:
    return [line["loss"] for line in records(settings, "train")[:10]]


def test_two_workers_of_zero_2_that_pack_their_rows_have_the_losses_of_one_that_pads_them(
    tiny_settings: dict[str, Any], llama: Path, tmp_path: Path
) -> None:
    values = {**tiny_settings, "backbone": str(llama), "evaluate_every_steps": 30}
    padded = TrainSettings(output=f"{tmp_path}/one", attention="padded", zero_stage=0, **values)
    packed = TrainSettings(output=f"{tmp_path}/two", workers=2, zero_stage=2, **values)
    run(padded)
    run(packed)
    assert first_losses(packed) == pytest.approx(first_losses(padded), abs=1e-4)
    assert sum(line["padding_frac"] for line in records(padded, "train")) > 0
    assert {line["padding_frac"] for line in records(packed, "train")} == {0.0}
    assert RewardModel.load(f"{packed.output}/checkpoint").head == "coral"


def test_packing_an_encoder_is_refused_and_auto_pads_it(tiny_settings: dict[str, Any], trained: TrainSettings) -> None:
    assert trained.attention == "auto"
    with pytest.raises(UsageError, match=r"--attention packed: .*: bert is no decoder with a linear score head"):
        run(TrainSettings(output="never-made", **{**tiny_settings, "attention": "packed"}))


def saved_step(settings: TrainSettings) -> int:
    """Of the newest checkpoint."""
    return max((int(path.name[5:11]) for path in Path(settings.output).glob("run/ckpt_*")), default=0)


def wait_for_step(settings: TrainSettings, step: int, deadline: float) -> None:
    while saved_step(settings) < step:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_that_either_signal_ends_says_so_and_is_continued(
    tiny_settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray Train's own handler of Ctrl-C would end the process without a word, and stay after the run."""
    values = {**tiny_settings, "max_steps": 4000, "evaluate_every_steps": 4}
    settings = TrainSettings(output=f"{tmp_path}/out", **values)
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    free, handlers = free_cpus(), [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    said = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with signalled(number, settings):
            assert main(["train", "--config", str(config)]) == 130
        said.append(capsys.readouterr())
        assert "interrupted; the same command continues where it stopped" in said[-1].err
    assert "continues after step" in said[1].out
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    wait_for(lambda: free_cpus() >= free, "the workers' CPUs", seconds=60)


@contextmanager
def signalled(number: signal.Signals, settings: TrainSettings) -> Iterator[None]:
    """Sends this process a signal at the third new checkpoint; of the first Ray Train may not have taken note yet."""
    done, target = threading.Event(), saved_step(settings) + 12

    def send() -> None:
        while not done.wait(0.02):
            if saved_step(settings) >= target:
                os.kill(os.getpid(), number)
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def free_cpus() -> float:
    return float(ray.available_resources().get("CPU", 0))


def a_worker_of(driver: int) -> psutil.Process:
    """A process of the driver's own cluster in which a rank trains."""
    return next(
        process
        for process in psutil.Process(driver).children(recursive=True)
        if "RayTrainWorker" in " ".join(process.cmdline())
    )


def test_a_run_whose_worker_and_then_driver_are_killed_ends_with_the_same_weights(
    tiny_settings: dict[str, Any], make_backbone: Callable[..., Path], tmp_path: Path
) -> None:
    values = {**tiny_settings, "backbone": str(make_backbone(dropout=0.1)), "max_steps": 80, "evaluate_every_steps": 4}
    values |= {"workers": 2, "zero_stage": 2}
    undisturbed = TrainSettings(output=f"{tmp_path}/undisturbed", **values)
    run(undisturbed)
    killed = TrainSettings(output=f"{tmp_path}/killed", address="local", **values)
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(killed.model_dump(mode="json")))
    command = [sys.executable, "-m", "train", "--config", str(config)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (tmp_path / "stdout").open("w") as stdout:
        process = subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    # The third: the folder of the first is there before Ray Train has taken note of it.
    wait_for_step(killed, 12, deadline)
    a_worker_of(process.pid).kill()
    while "continues after step" not in (tmp_path / "stdout").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    wait_for_step(killed, saved_step(killed) + 8, deadline)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (Path(killed.output) / "done.json").exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "continues after step" in again.stdout
    assert largest_difference(f"{undisturbed.output}/last", f"{killed.output}/last") == 0
    assert [line["step"] for line in records(killed, "train")] == list(range(1, 81))


def test_prometheus_sees_how_many_tokens_a_run_read(trained: TrainSettings) -> None:
    """What else it sees while a run lasts: test_sinks.py. Ray's processes report every few seconds."""
    deadline = time.monotonic() + 60
    while not (found := tokens_seen(trained)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == [records(trained, "train")[-1]["tokens"]]


def tokens_seen(settings: TrainSettings) -> list[float]:
    named = samples("wildreward_train")
    return [value for name, tags, value in named if (name, tags["run"]) == ("tokens_total", settings.output)]
