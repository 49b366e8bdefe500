"""What cannot serve is told apart from what can, with its reason, before it serves."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve.canary import _load_and_score, check_scoring
from serve.schema import RequestError
from serve.scoring import Scoring
from wildreward.errors import CheckpointError
from wildreward.reward_model import RewardModel, Score
from wildreward.settings.serve import ServeSettings


class Changed(RewardModel):
    """Scores moved out of the scale, or refused."""

    by: float | RequestError = 0.0

    def score_encoded(self, items: Any, *args: Any, **kwargs: Any) -> list[Score]:
        if isinstance(self.by, RequestError):
            raise self.by
        return [replace(score, score=score.score + self.by) for score in super().score_encoded(items, *args, **kwargs)]


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (10.0, r"not within 1\.\.4"),
        (float("nan"), "not within"),
        (RequestError(503, "out_of_memory", "too large"), "gets no score: 503 out_of_memory"),
    ],
)
def test_a_model_that_gives_no_score_of_the_scale_is_refused(checkpoint: Path, by: Any, said: str) -> None:
    model = Changed.load(checkpoint)
    scoring = Scoring(model, ServeSettings(checkpoint=str(checkpoint)))
    asyncio.run(check_scoring(scoring))
    model.by = by
    with pytest.raises(CheckpointError, match=said):
        asyncio.run(check_scoring(scoring))


def test_what_callers_rely_on_is_the_scale_and_the_template_without_its_length(checkpoint: Path) -> None:
    meaning = _load_and_score(ServeSettings(checkpoint=str(checkpoint)).model_dump(mode="json"))
    assert meaning["num_classes"] == 4
    assert meaning["template"]["kind"] == "plain"
    assert "max_tokens" not in meaning["template"]
