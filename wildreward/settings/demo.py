"""Settings of `wildreward demo`."""

from pydantic import Field, field_validator

from wildreward.settings.base import StageSettings


class DemoSettings(StageSettings):
    """How large the demonstration is. Every stage runs with its own `demo` preset or its defaults."""

    output: str = "runs/demo"
    """Local directory for everything the run writes: generated data and one folder a stage."""

    @field_validator("output")
    @classmethod
    def _is_local(cls, output: str) -> str:
        if "://" in output:
            raise ValueError("the demo writes to a local directory")
        return output

    conversations: int = Field(default=1000, ge=100)
    """Conversations to generate."""

    shards: int = Field(default=4, ge=1)
    """Parquet files they are spread over."""

    test_rows: int = Field(default=160, ge=20)
    """Labelled rows kept for the test split: so many that its intervals say something."""

    train_epochs: float = Field(default=3.0, gt=0)
    """Passes of the reward model over the labelled rows."""

    warm_start_steps: int = Field(default=400, ge=1)
    """Steps of supervised fine-tuning that teach the small policy to write replies of all qualities."""

    dpo_steps: int = Field(default=12, ge=1)
    """Steps of online DPO."""
