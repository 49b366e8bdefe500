"""Settings of `wildreward compare`."""

from typing import Literal

from pydantic import Field, model_validator

from wildreward.settings.base import StageSettings


class CompareSettings(StageSettings):
    """Evaluations side by side. The first is what the others are compared with. --output is optional here."""

    results: tuple[str, ...] = ()
    """Outputs of `wildreward evaluate` (or their results.json), two or more."""

    bootstrap: int = Field(default=1000, ge=1, le=100_000)
    """Resamples behind every interval of a difference."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals."""

    group_by: Literal["conversation", "user", "row"] = "conversation"
    """What the bootstrap draws."""

    calibration_bins: int = Field(default=10, ge=2, le=1000)
    """Bins of equal width over 0..1 behind the calibration errors."""

    @model_validator(mode="after")
    def _at_least_two(self) -> "CompareSettings":
        if len(self.results) < 2:
            found = ", ".join(self.results) or "none"
            raise ValueError(f"two or more outputs of `wildreward evaluate` are needed; found {found}")
        return self
