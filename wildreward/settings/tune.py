"""Settings of `wildreward tune`: what is searched, from where, by which measure."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from wildreward.errors import UsageError
from wildreward.settings.base import StageSettings
from wildreward.settings.train import SELECT_MODES, Selector, TrainSettings

RANGES = ("uniform", "loguniform", "randint")
"""Distributions of the search space."""

RULED_BY_SWEEP = ("input", "output", "address", "overwrite", "select_by", "keep_state")
"""Settings of train that a sweep sets itself."""


class TuneSettings(StageSettings):
    """A sweep over the settings of `train` on Ray Tune; every trial is a Ray Train run of its own."""

    input: tuple[str, ...] = ()
    """WildFB rows, as for train."""

    train_config: str | None = None
    """Preset of train, or a YAML file, that every trial starts from."""

    base: dict[str, Any] = Field(default={})
    """Settings of train that all trials share, on top of train_config: a mapping of field to value."""

    space: dict[str, Any] = Field(
        default={"head": ["coral", "corn", "independent"], "threshold_weights": ["none", "balanced"]}
    )
    """Field of train to a list of values (all are tried), or to {loguniform|uniform|randint: [low, high]} (drawn)."""

    num_samples: int = Field(default=1, ge=1)
    """Trials: passes over the grid of the listed values, each with fresh draws of the rest."""

    metric: Selector = "mae"
    """Validation metric that ranks trials, each by its best evaluation; loss does not compare heads or weights."""

    max_concurrent_trials: int = Field(default=1, ge=1)
    """Trials at a time; each also needs its workers' CPUs or GPUs."""

    asha: bool = False
    """Stop the weaker trials early (asynchronous successive halving over evaluations)."""

    asha_grace_evaluations: int = Field(default=1, ge=1)
    """Evaluations every trial is allowed."""

    asha_reduction_factor: int = Field(default=2, ge=2)
    """One in this many trials goes on at each halving."""

    @field_validator("base", "space")
    @classmethod
    def _known_fields(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            if name in RULED_BY_SWEEP or name not in TrainSettings.model_fields:
                allowed = sorted(set(TrainSettings.model_fields) - set(RULED_BY_SWEEP))
                raise ValueError(f"{name} is not a setting a sweep can vary; allowed are {', '.join(allowed)}")
        return values

    @field_validator("space")
    @classmethod
    def _well_formed(cls, space: dict[str, Any]) -> dict[str, Any]:
        if not space:
            raise ValueError("a sweep needs at least one field to vary")
        for name, values in space.items():
            if isinstance(values, list) and values:
                continue
            kind, bounds = next(iter(values.items())) if isinstance(values, dict) and len(values) == 1 else ("", None)
            if kind not in RANGES or not isinstance(bounds, list) or len(bounds) != 2 or not bounds[0] < bounds[1]:
                allowed = f"a list of values, or one of {', '.join(RANGES)} with [low, high]"
                raise ValueError(f"{name}: found {values!r}; allowed is {allowed}")
        return space

    @model_validator(mode="after")
    def _comparable(self) -> "TuneSettings":
        changed = sorted({"head", "threshold_weights", "label_smoothing", "num_classes"} & set(self.space))
        if self.metric == "loss" and changed:
            raise ValueError(f"metric: loss is another quantity for each value of {', '.join(changed)}; choose another")
        return self

    @property
    def mode(self) -> str:
        return SELECT_MODES[self.metric]

    @property
    def grid_size(self) -> int:
        """How many trials will run."""
        size = self.num_samples
        for values in self.space.values():
            size *= len(values) if isinstance(values, list) else 1
        return size

    def required(self) -> None:
        """Raises UsageError when a flag without which nothing can run is absent."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise UsageError(f"tune: {name} is required (--{name})")
