"""A calibrated checkpoint behind the routes: calibrated scores unless raw ones were asked for, and /v1/model tells."""

from pathlib import Path

import httpx2
import pytest

from serve.app import load_model
from tests.checkpoints import calibrate_checkpoint, tiny_checkpoint
from tests.serve.conftest import LocalScorer
from wildreward.settings.serve import ServeSettings

MESSAGES = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "because it is so"}]


def test_calibrated_scores_are_served_unless_raw_ones_are_asked_for(local_scorer: LocalScorer, tmp_path: Path) -> None:
    checkpoint = calibrate_checkpoint(tiny_checkpoint(tmp_path / "x"), 1.6, (-0.5, 0.25, 1.5))
    scores = {}
    for calibrated in (True, False):
        model = load_model(ServeSettings(checkpoint=str(checkpoint), calibrated=calibrated))
        url = local_scorer(model=model)
        info = httpx2.get(f"{url}/v1/model").json()
        assert info["calibrated"] is calibrated
        assert info["calibration"]["temperature"] == 1.6
        answer = httpx2.post(f"{url}/v1/score", json={"items": [{"messages": MESSAGES}]}).json()
        scores[calibrated] = answer["items"][0]["responses"][0]["score"]
        assert scores[calibrated] == pytest.approx(model.score([MESSAGES])[0].score, abs=1e-5)
    assert abs(scores[True] - scores[False]) > 0.01
