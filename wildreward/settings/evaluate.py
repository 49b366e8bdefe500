"""Settings of `wildreward evaluate`."""

from typing import Literal

from pydantic import Field, model_validator

from wildreward.settings.scoring import ScoringSettings


class EvaluateSettings(ScoringSettings):
    """Which model is measured on what, and how sure that is. --input takes benchmarks by name (rewardbench, rm-bench,
    NAME=PATH for local files; wildreward/benchmarks/catalog.py), WildFB rows, pairs, ratings and candidate sets."""

    baseline: str | None = Field(default=None, min_length=1)
    """Second model, compared on the same items: the output of an earlier evaluation, or a checkpoint to score too."""

    score_cache: str | None = None
    """Directory of scores by model and text: what is there is not scored again. Default: score_cache in --output."""

    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    """Resamples behind every interval. 0: values alone, no intervals and no verdicts."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals."""

    group_by: Literal["conversation", "user", "row"] = "conversation"
    """What the bootstrap draws. Preference pairs without conversations are drawn one by one."""

    calibration_bins: int = Field(default=10, ge=2, le=1000)
    """Bins of equal width over 0..1 behind the calibration errors."""

    downstream: str | None = None
    """A function `module:function` that judges the reply chosen of several (wildreward/benchmarks/downstream.py)."""

    @model_validator(mode="after")
    def _has_output(self) -> "EvaluateSettings":
        if not self.output:
            raise ValueError("output is required (--output): results.json, items/ and report.html are written there")
        return self
