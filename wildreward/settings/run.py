"""Settings of `wildreward run`: the file that says which stages make one run, and with which settings."""

from typing import Any

from pydantic import Field, field_validator

from wildreward.errors import UsageError
from wildreward.settings.base import ALWAYS_FREE, StageSettings

ORDER = ("label", "train", "evaluate", "serve", "dpo")
"""Stages a run may have, in the order they run in."""

RULED_BY_RUN = ALWAYS_FREE | {"detach"}
"""Settings of a stage that the run sets itself."""


class RunSettings(StageSettings):
    """Several stages as one resumable run: label, train, evaluate, then serve or dpo, each on what came before."""

    output: str = ""
    """Directory of the whole run (local, s3://, gs://, any fsspec URL): manifest.json and a folder for each stage."""

    input: tuple[str, ...] = ()
    """Conversations that label reads, where its own settings name none."""

    stages: dict[str, dict[str, Any]] = Field(default={})
    """Stage to its settings; `config` names a preset of it. `${label}` stands for the output of an earlier stage."""

    dry_run: bool = False
    """Say what would be done and why, and do nothing."""

    prune: bool = False
    """When all is done, delete outputs of earlier settings or inputs that this run does not use any more."""

    @field_validator("stages", mode="before")
    @classmethod
    def _empty_means_defaults(cls, stages: Any) -> Any:
        return {name: values or {} for name, values in stages.items()} if isinstance(stages, dict) else stages

    @field_validator("stages")
    @classmethod
    def _known(cls, stages: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, values in stages.items():
            if name not in ORDER:
                raise ValueError(f"{name} is no stage of a run; allowed are {', '.join(ORDER)}")
            if ruled := sorted(RULED_BY_RUN & set(values)):
                raise ValueError(f"{name}.{ruled[0]} is set by the run itself; leave it out")
        return stages

    def required(self) -> None:
        """Raises UsageError where something is absent without which nothing can run (a preset may leave it out)."""
        if not self.output:
            raise UsageError("run: output is required (in the file, or --output)")
        if not self.stages:
            raise UsageError(f"run: stages: at least one of {', '.join(ORDER)} is needed")
