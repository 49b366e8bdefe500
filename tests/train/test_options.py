"""LoRA, soft targets, a class map and refitted cutpoints through a whole run; and runs that must stop."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.train.conftest import wildfb_rows
from train import program, tokens
from train.program import run
from train.saving import writing
from train.worker import Loop, split
from wildreward.errors import CheckpointError, TrainingError, WildrewardError
from wildreward.pretrained import pad
from wildreward.reward_model import RewardModel
from wildreward.settings.train import TrainSettings
from wildreward.validation import UNDEFINED

Write = Callable[..., Path]


@pytest.mark.usefixtures("ray_cluster")
def test_what_is_published_is_what_was_measured(
    tiny_settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers under ZeRO-3 train adapters towards soft targets; each checkpoint has its own cutpoints."""
    values = {**tiny_settings, "max_steps": 12, "evaluate_every_steps": 6, "workers": 2, "zero_stage": 3}
    options = {"targets": "soft", "class_map": "four", "cutpoint_freedom": "refitted", "lora_rank": 4}
    settings = TrainSettings.parse(
        {**values, **options, "gradient_checkpointing": True, "output": str(tmp_path / "out")}
    )
    run(settings)
    assert "soft targets: 53 rows; 27 without level_probs are trained on their label" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["grad_norm"] > 0 for line in lines if line["kind"] == "train")
    measured = {line["step"]: line["mae"] for line in lines if line["kind"] == "validation"}
    for name in ("checkpoint", "last"):
        model = RewardModel.load(tmp_path / "out" / name)
        step = json.loads((tmp_path / "out" / "done.json").read_text())["best_step"] if name == "checkpoint" else 12
        assert mae(model, settings) == pytest.approx(measured[step], abs=1e-4)
        assert (tmp_path / "out" / name / "adapter" / "adapter_model.safetensors").is_file()


def mae(model: RewardModel, settings: TrainSettings) -> float:
    """Of a checkpoint on the validation rows of its run."""
    directory = f"{settings.output}/tokens"
    store = tokens.read(directory, sorted(p.name for p in Path(directory).glob("*.arrow")), settings.labelling)
    _, validation = split(store, settings)
    ids, mask = pad([validation.input_ids(row) for row in range(len(validation))], 0)
    with torch.inference_mode():
        scores = 1 + torch.sigmoid(model.model(ids, mask)).sum(1)
    return float((scores - torch.from_numpy(validation.labels)).abs().mean())


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_whose_numbers_explode_is_ended_once_and_saves_nothing(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    values = {**tiny_settings, "lr": 1e37, "max_steps": 4, "evaluate_every_steps": 2, "warmup_frac": 0.0}
    settings = TrainSettings(output=str(tmp_path / "out"), zero_stage=0, worker_failures=1000, **values)
    with pytest.raises(TrainingError, match=r"is (nan|inf); lower lr .* Nothing of it was saved"):
        run(settings)
    assert not list((tmp_path / "out" / "run").glob("ckpt_*"))


def test_a_metric_that_is_never_defined_chooses_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = []
    monkeypatch.setattr(program, "_publish", lambda hf, target, *rest: published.append((hf, target)))
    settings = TrainSettings(output=str(tmp_path), select_by="spearman")
    last = SimpleNamespace(as_directory=lambda: nullcontext(tmp_path / "b"))
    result = SimpleNamespace(checkpoint=last, best_checkpoints=[("a", {"step": 1, "select": UNDEFINED})])
    data: Any = SimpleNamespace(template=None)
    with pytest.raises(TrainingError, match=r"select_by spearman: undefined at every evaluation"):
        program._finish(settings, data, result)
    assert published == [(tmp_path / "b" / "hf", f"{tmp_path}/last")]


def test_an_undefined_metric_is_told_and_ranked_below_every_number() -> None:
    told: list[dict[str, Any]] = []
    loop: Any = SimpleNamespace(
        settings=TrainSettings(select_by="spearman"), state=SimpleNamespace(step=5), rank=0, _tell=told.append
    )
    assert Loop._select(loop, {"spearman": 0.1}) > Loop._select(loop, {"spearman": None}) == UNDEFINED
    assert [(note["kind"], note["text"][:32]) for note in told] == [("note", "spearman is undefined at step 5 ")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 28 MB: one checkpoint of the tiny model (17 MB) has room, two have not."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=28m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this process may not mount a file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.usefixtures("ray_cluster")
def test_a_full_disk_is_told_and_the_same_command_continues_once_there_is_room(
    tiny_settings: dict[str, Any], small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {**tiny_settings, "max_steps": 6, "evaluate_every_steps": 2, "zero_stage": 1, "worker_failures": 0}
    settings = TrainSettings(output=str(small_disk / "out"), **values)
    with pytest.raises(WildrewardError, match=r"(?s)No space left.* the same command continues from the last"):
        run(settings)
    RewardModel.load(small_disk / "out" / "run" / "ckpt_000002" / "hf")
    subprocess.run(["mount", "-o", "remount,size=128m", str(small_disk)], check=True)
    run(settings)
    said = capsys.readouterr().out
    # Ray writes its list of checkpoints some time after a checkpoint; cut off before there was a copy, it is of no use.
    assert "continues after step 2 of 6" in said or "was cut off; starting from step 0" in said
    assert RewardModel.load(small_disk / "out" / "last").head == "coral"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_whoever_fails_to_write_is_named_with_the_step(tmp_path: Path, error: Exception) -> None:
    message = r"the checkpoint of step 7 could not be written.* continues from the last"
    with pytest.raises(CheckpointError, match=message), writing("the checkpoint of step 7", tmp_path):
        raise error


def test_one_class_left_by_the_class_map_is_refused(tmp_path: Path, write_wildfb: Write) -> None:
    rows = wildfb_rows(8, labels=(1, 2))
    directory = write_wildfb(tmp_path, rows)
    settings = TrainSettings(input=(str(directory),), output=str(tmp_path / "out"), class_map="binary", max_tokens=64)
    with pytest.raises(WildrewardError, match=r"the training split has one class only \(1\)"):
        run(settings)
    assert not os.path.exists(settings.output)
