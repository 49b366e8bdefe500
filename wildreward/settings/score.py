"""Settings of `wildreward score`."""

from pydantic import Field, model_validator

from wildreward.settings.scoring import ScoringSettings


class ScoreSettings(ScoringSettings):
    """Score every row of the input. Rows hold `messages`, or `prompt` and `response`, or a WildChat `conversation`."""

    chunk_rows: int = Field(default=512, ge=1)
    """Rows of one output file: what is scored together, and what is lost at most when the run is killed."""

    @model_validator(mode="after")
    def _has_output(self) -> "ScoreSettings":
        if not self.output:
            raise ValueError("output is required (--output): scores/ and summary.json are written there")
        return self
