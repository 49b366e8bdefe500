"""A checkpoint is calibrated on rows of one's own: a copy with another config, and what scores, says so."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.calibrate import run
from pipelines.score import run as score
from pipelines.scorers import source_of
from tests.checkpoints import tiny_checkpoint
from wildreward.checkpoint import fingerprint
from wildreward.errors import DataError, UsageError
from wildreward.ordinal import HeadKind
from wildreward.reward_model import RewardModel, Score
from wildreward.settings.calibrate import CalibrateSettings
from wildreward.settings.score import ScoreSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")


def talk(number: int) -> list[dict[str, str]]:
    words = random.Random(number).choices(["good", "bad", "perhaps", "tree", "never", "is"], k=number % 30 + 2)
    return [{"role": "user", "content": "why?"}, {"role": "assistant", "content": " ".join(words)}]


def rows_for(checkpoint: Path, count: int) -> list[dict[str, Any]]:
    """Labels drawn from what the model would say at a third of its logits: it is too sure by 3."""
    model = RewardModel.load(checkpoint)
    scores = model.score([talk(number) for number in range(count)])
    values = np.array([score.score for score in scores])
    rng = np.random.default_rng(0)
    labels = 1 + ((values - values.mean())[:, None] / values.std() + rng.logistic(size=(count, 1)) > (-1, 0, 1)).sum(1)
    return [
        {"id": str(i), "conversation_hash": f"c{i}", "messages": talk(i), "label": int(label)}
        for i, label in enumerate(labels)
    ]


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.fixture(scope="module", params=["coral", "independent"])
def calibrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CalibrateSettings:
    head: HeadKind = request.param
    folder = tmp_path_factory.mktemp(head)
    checkpoint = tiny_checkpoint(folder / "checkpoint", head)
    rows = written(folder / "rows.parquet", [*rows_for(checkpoint, 150), {"id": "x", "messages": talk(1), "label": 0}])
    settings = CalibrateSettings(checkpoint=str(checkpoint), input=(rows,), output=str(folder / "out"), bootstrap=20)
    run(settings)
    return settings


def test_the_copy_is_calibrated_and_the_weights_are_the_same(calibrated: CalibrateSettings) -> None:
    before, after = Path(calibrated.checkpoint), Path(calibrated.output) / "checkpoint"
    assert (before / "model.safetensors").read_bytes() == (after / "model.safetensors").read_bytes()
    assert fingerprint(str(before)) != fingerprint(str(after))
    model = RewardModel.load(after)
    assert model.calibrated
    assert model.calibration is not None
    facts = model.calibration.facts
    assert (facts["rows"], facts["rows_are"]) == (150, f"--input {calibrated.input[0]}")
    assert facts["nll"]["fitted"] < facts["nll"]["before"]
    done = json.loads((Path(calibrated.output) / "done.json").read_text())
    assert done["skipped"] == {"label_out_of_range": 1}
    assert "Calibration of a reward model" in (Path(calibrated.output) / "report.html").read_text()
    assert (Path(calibrated.output) / "figures" / "reliability_above_3.png").is_file()


def test_the_same_command_again_does_nothing(calibrated: CalibrateSettings, capsys: pytest.CaptureFixture[str]) -> None:
    before = (Path(calibrated.output) / "report.html").stat().st_mtime_ns
    run(calibrated)
    assert "is done already" in capsys.readouterr().out
    assert (Path(calibrated.output) / "report.html").stat().st_mtime_ns == before


def test_calibrating_again_replaces_the_calibration(calibrated: CalibrateSettings, tmp_path: Path) -> None:
    first = Path(calibrated.output) / "checkpoint"
    run(calibrated.model_copy(update={"checkpoint": str(first), "output": str(tmp_path)}))
    found = [RewardModel.load(folder).describe()["calibration"] for folder in (first, tmp_path / "checkpoint")]
    assert found[0] == found[1]


@pytest.mark.parametrize("calibrated", ["coral"], indirect=True)
def test_score_gives_calibrated_scores_and_raw_ones_on_request(calibrated: CalibrateSettings, tmp_path: Path) -> None:
    checkpoint = str(Path(calibrated.output) / "checkpoint")
    asked = ScoreSettings(checkpoint=checkpoint, input=calibrated.input, output=str(tmp_path))
    score(asked)
    rows = pq.read_table(tmp_path / "scores").to_pylist()
    source = source_of(asked.model_copy(update={"calibrated": False}))
    raw = source.load().score([talk(number) for number in range(150)])
    for after, before in zip(rows, raw, strict=False):
        assert isinstance(before, Score)
        assert after["raw_probs"] == pytest.approx(before.probs, abs=1e-5)
        assert before.raw_probs is None
    assert source.identity() == source_of(asked).identity() + "-raw"


def test_rows_that_allow_no_calibration_are_an_error_and_no_checkpoint(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    rows = [{"id": str(i), "messages": talk(i), "label": i % 4 + 1} for i in range(8)]
    few = written(tmp_path / "few.parquet", rows)
    values: dict[str, Any] = {"checkpoint": str(checkpoint), "output": str(tmp_path / "out")}
    with pytest.raises(DataError, match="these rows allow no calibration: 8 conversations; at least 50 are needed"):
        run(CalibrateSettings(input=(few,), **values))
    assert not (tmp_path / "out" / "checkpoint").exists()
    other = written(tmp_path / "other.parquet", [*rows, {"id": "z", "messages": talk(1), "label": 7}])
    with pytest.raises(DataError, match=r"other: row 8: label: found 7; .*checkpoint has the classes 1\.\.4"):
        run(CalibrateSettings(input=(other,), overwrite=True, **values))
    pairs = written(tmp_path / "pairs.parquet", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    with pytest.raises(UsageError, match=r"pairs.parquet: pairs; rows with messages and label are needed"):
        run(CalibrateSettings(input=(pairs,), **values))
