"""Settings of `wildreward agree A B`."""

from pydantic import Field, field_validator

from wildreward.settings.base import StageSettings


class AgreeSettings(StageSettings):
    """Two labellings of the same turns, and how they are compared."""

    input: tuple[str, ...] = Field(default=(), validate_default=True)
    """A and B: outputs of label, or parquet, JSONL or CSV files with conversation_hash, turn and level. B is the
    reference against which precision and recall of A are taken."""

    rows: bool = False
    """Compare the refined levels of the rows that were kept (wildfb/) instead of the judge's levels (feedback/)."""

    level_column: str | None = None
    """Column of the level in files. Default: level, else true_level (with --rows true_level_refined)."""

    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    """Resamples of conversations behind every interval. 0: values alone."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals."""

    @field_validator("input")
    @classmethod
    def _two(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(given) != 2:
            raise ValueError("two labellings are needed, as in `wildreward agree A B`")
        return given
