"""A training run calibrates its checkpoint on rows it has not trained on, says how good that is, and says so where it
cannot."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.train.conftest import wildfb_rows
from train import calibrate, tokens
from train.program import run
from train.worker import split
from wildreward.errors import UsageError
from wildreward.reward_model import RewardModel
from wildreward.settings.train import TrainSettings


def noisy_rows(count: int) -> list[dict[str, Any]]:
    """Rows of which every fourth has another class than its words: a model that is sure of them is too sure."""
    rng = random.Random(1)
    rows = wildfb_rows(count)
    return [row | {"label": rng.randint(1, 4)} if i % 4 == 3 else row for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def calibrated(
    write_wildfb: Callable[..., Path],
    tiny_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    ray_cluster: None,
) -> TrainSettings:
    folder = tmp_path_factory.mktemp("calibrated")
    rows = write_wildfb(folder / "label", noisy_rows(400))
    values = tiny_settings | {
        "input": (str(rows),),
        "calibration_frac": 0.4,
        "max_steps": 16,
        "evaluate_every_steps": 8,
    }
    settings = TrainSettings(output=str(folder / "out"), zero_stage=0, **values)
    run(settings)
    return settings


def facts(settings: TrainSettings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(settings.output) / "done.json").read_text())
    return found


def test_the_checkpoint_carries_the_calibration_and_its_figures(calibrated: TrainSettings) -> None:
    found = facts(calibrated)["calibration"]
    config = json.loads((Path(calibrated.output) / "checkpoint" / "config.json").read_text())
    assert config["wildreward"]["calibration"] == found
    assert found["method"] == "temperature+cutpoints"
    assert found["rows_are"] == calibrate.APART
    assert found["rows"] == sum(found["class_rows"].values()) == 2 * found["conversations"]
    assert found["rows"] == pytest.approx(0.4 * 400, abs=2)
    assert found["nll"]["fitted"] < found["nll"]["before"]
    assert [len(found["ece_above"][when]) for when in ("before", "after")] == [3, 3]
    last = json.loads((Path(calibrated.output) / "last" / "config.json").read_text())
    assert "calibration" not in last["wildreward"]


def test_the_logits_it_was_fitted_on_are_those_of_the_published_checkpoint(calibrated: TrainSettings) -> None:
    """Scored again from the files, the same rows give the likelihoods that were written."""
    rows = pq.read_table(Path(calibrated.input[0]) / "wildfb" / "train" / "part-0.parquet").to_pylist()
    names = calibrate.names_apart([row["conversation_hash"] for row in rows], calibrated)
    chosen = [row for row in rows if row["conversation_hash"] in names]
    nll = facts(calibrated)["calibration"]["nll"]
    for is_calibrated, expected in ((True, nll["fitted"]), (False, nll["before"])):
        model = RewardModel.load(f"{calibrated.output}/checkpoint", calibrated=is_calibrated)
        probs = np.array([score.probs for score in model.score([row["messages"] for row in chosen])])
        labels_N = np.array([row["label"] for row in chosen])
        assert -np.log(probs[np.arange(len(labels_N)), labels_N - 1]).mean() == pytest.approx(expected, abs=1e-3)


def test_the_report_and_its_pictures_are_written(calibrated: TrainSettings, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(calibrated.output) / "report.html").read_text()
    figures = {path.stem for path in (Path(calibrated.output) / "figures").glob("*.png")}
    assert {"loss", "reliability_above_1", "accuracy_by_margin", "scores_by_class", "ece"} <= figures
    assert page.count("<img") == len(figures)
    found = facts(calibrated)["calibration"]
    assert f"{found['rows']} rows of {found['conversations']} conversations: {calibrate.APART}" in page
    run(calibrated)
    said = capsys.readouterr().out
    assert "calibration    temperature and cutpoints, T = " in said
    assert f"report         {calibrated.output}/report.html" in said


def test_rows_apart_are_neither_trained_on_nor_chosen_by(calibrated: TrainSettings) -> None:
    directory = f"{calibrated.output}/tokens"
    names = [path.name for path in sorted(Path(directory).glob("*.arrow"))]
    store = tokens.read(directory, names, calibrated.labelling)
    training, validation = split(store, calibrated)
    apart = calibrate.rows_apart(store, calibrated)
    assert len(training) + len(validation) + len(apart) == len(store) == 400
    places = [set(part.rows.tolist()) for part in (training, validation, apart)]
    assert len(set.union(*places)) == sum(map(len, places))
    without = calibrated.model_copy(update={"calibration_frac": 0.0})
    assert split(store, without)[1].rows.tolist() == validation.rows.tolist()


def test_too_little_is_set_apart_is_said_before_anything_runs() -> None:
    apart = "calibration_frac: found 0.4; with"
    for values, said in (
        ({"validation_frac": 0.5, "calibration_frac": 0.4}, f"{apart} validation_frac=0.5 less"),
        ({"calibrate": False, "calibration_frac": 0.4}, f"{apart} calibrate false it must be 0"),
    ):
        with pytest.raises(UsageError, match=said):
            TrainSettings.parse(values)
