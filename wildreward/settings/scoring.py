"""Settings that `evaluate` and `score` share: what scores, and how it is placed on the cluster."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from wildreward.settings.base import StageSettings

SCORERS = ("checkpoint", "url", "handle", "callable")


class CheckpointSettings(StageSettings):
    """How a checkpoint reads its input, and where."""

    template: str | None = None
    """Template file (wildreward_template.json) for a checkpoint that carries none, or "chat" for its tokenizer's own
    chat template, which a scalar reward model is read with anyway."""

    chat_template: str | None = None
    """Jinja file that renders conversations, for a checkpoint without a template of its own."""

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


class ScoringSettings(CheckpointSettings):
    """Batch scoring on Ray actors. What scores is exactly one of checkpoint, url, handle and callable."""

    PLACEMENT = frozenset({"replicas", "threads"})

    checkpoint: str | None = Field(default=None, min_length=1)
    """Reward model: a directory written by `wildreward train`, any scalar Hugging Face reward model, or a hub id."""

    url: str | None = None
    """Running scorer: the base URL of `wildreward serve`, or a URL that ends with /get_reward (OpenRLHF's shape; with
    --template TOKENIZER). A bearer token is taken from WILDREWARD_TOKEN."""

    handle: str | None = Field(default=None, min_length=1)
    """Running scorer: name of a `wildreward serve` application on the same cluster, asked without HTTP."""

    callable: str | None = Field(default=None, min_length=1)
    """module:function that gets a list of conversations and returns as many numbers (wildreward/callable_scorer.py)."""

    calibrated: bool = True
    """Scores of a checkpoint go through its calibration, where it has one; without it they are those of training."""

    replicas: int | None = Field(default=None, ge=1)
    """Copies of the model. Default: one a GPU; on CPUs one."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each copy. Default: the cores of its machine, divided by the copies."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("expected http://... or https://...")
        return url

    @model_validator(mode="after")
    def _one_scorer(self) -> "ScoringSettings":
        given = [name for name in SCORERS if getattr(self, name)]
        if len(given) != 1:
            found = " and ".join(f"--{name}" for name in given) or "none"
            raise ValueError(f"exactly one of --{', --'.join(SCORERS)} says what scores; found {found}")
        if not self.calibrated and self.checkpoint is None:
            raise ValueError("calibrated: false is for a --checkpoint; other scorers say themselves what they give")
        return self
