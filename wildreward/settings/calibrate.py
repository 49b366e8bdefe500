"""Settings of `wildreward calibrate`."""

from pydantic import Field, model_validator

from wildreward.settings.scoring import CheckpointSettings


class CalibrateSettings(CheckpointSettings):
    """Fit temperature and cutpoints of a checkpoint on WildFB rows (`messages` and `label`) that it was not trained on
    and will not be measured on."""

    PLACEMENT = frozenset({"threads", "batch_tokens"})

    checkpoint: str = Field(min_length=1)
    """Ordinal reward model: a directory written by `wildreward train`, or a WildReward checkpoint from the hub."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads. Default: the cores of the machine it runs on."""

    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    """Resamples of conversations behind every interval. 0: values alone."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals."""

    calibration_bins: int = Field(default=10, ge=2, le=1000)
    """Bins of equal width over 0..1 behind the calibration errors."""

    @model_validator(mode="after")
    def _has_output(self) -> "CalibrateSettings":
        if not self.output:
            raise ValueError("output is required (--output): checkpoint/, report.html and figures/ are written there")
        return self
