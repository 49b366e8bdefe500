"""Settings that `evaluate` and `score` share: which reward model, and how it is placed on the cluster."""

from typing import Literal

from pydantic import Field

from wildreward.settings.base import StageSettings


class ScoringSettings(StageSettings):
    """Batch scoring with a checkpoint: Ray actors, each with a copy of the model."""

    checkpoint: str = Field(min_length=1)
    """Reward model: a directory written by `wildreward train`, or a hub id."""

    template: str | None = None
    """Template file (wildreward_template.json) for a checkpoint that carries none."""

    trust_remote_code: bool = False
    """Run model code that the checkpoint brings along."""

    input: tuple[str, ...] = Field(min_length=1)
    """Parquet or JSONL files, directories or globs (local, s3://, hf://, any fsspec URL)."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs. auto: cuda if the cluster has a GPU, else cpu."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights while scoring."""

    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens of one forward pass, padding included. On a CPU smaller batches cost nothing and pad less."""

    replicas: int | None = Field(default=None, ge=1)
    """Copies of the model. Default: one a GPU; on CPUs one."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each copy. Default: the cores of its machine, divided by the copies."""
