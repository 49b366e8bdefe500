"""Settings of `wildreward tune`: what is searched, from where, by which measure."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from wildreward import search_space
from wildreward.errors import UsageError
from wildreward.settings.base import StageSettings, find_config, read_yaml
from wildreward.settings.train import SELECT_MODES, Selector, TrainSettings

RULED_BY_SWEEP = ("input", "output", "address", "overwrite", "select_by", "keep_state")
"""Settings of train that a sweep sets itself."""

CHOOSES_ROWS = ("seed", "validation_frac")
"""Settings that decide which rows are set apart: trials measured on other rows do not compare."""

PLACEMENT = ("workers", "device", "cpus_per_worker", "threads")
"""Settings that decide what a trial reserves: the same for all, set in `base`."""

IN_CLASSES = ("mae", "qwk", "accuracy", "spearman", "pairwise")
"""Metrics that count classes or pairs of different class: with another class map they are other quantities."""

SPACES = Path(__file__).resolve().parents[2] / "tune" / "presets" / "spaces"


class TuneSettings(StageSettings):
    """A sweep over the settings of `train` on Ray Tune; every trial is a Ray Train run of its own."""

    PLACEMENT = frozenset({"max_concurrent_trials", "checkpoint_trials"})

    input: tuple[str, ...] = ()
    """WildFB rows, as for train."""

    train_config: str | None = None
    """Preset of train, or a YAML file, that every trial starts from."""

    base: dict[str, Any] = Field(default={})
    """Settings of train that all trials share, on top of train_config: a mapping of field to value."""

    space: dict[str, Any] = Field(
        default={"head": ["coral", "corn", "independent"], "threshold_weights": ["none", "balanced"]}
    )
    """What varies: a YAML file, the name of a shipped space, or a mapping of fields of train to a list of values (all
    are tried) or to {loguniform: [low, high]} and the like (drawn): see wildreward/search_space.py."""

    num_samples: int = Field(default=1, ge=1)
    """Passes over the combinations of the listed values, each with fresh draws of the rest."""

    metric: Selector = "good_bad_auc"
    """Validation metric that ranks trials, each by its best evaluation. good_bad_auc means the same for every head,
    loss and class map; the others are refused where the space makes them incomparable."""

    max_concurrent_trials: int = Field(default=0, ge=0)
    """Trials at a time; 0: as many as the cluster has cores (or GPUs) for, each with threads of its own."""

    checkpoint_trials: bool = True
    """Save a trial at each evaluation, so that one which was interrupted goes on there; deleted when it ends. False
    saves the disk and the time, and an interrupted trial begins again."""

    asha: bool = False
    """Stop the weaker trials early (asynchronous successive halving over evaluations)."""

    asha_grace_evaluations: int = Field(default=1, ge=1)
    """Evaluations every trial is allowed."""

    asha_reduction_factor: int = Field(default=2, ge=2)
    """One in this many trials goes on at each halving."""

    @field_validator("space", mode="before")
    @classmethod
    def _from_file(cls, space: Any) -> Any:
        """A file or the name of a shipped space becomes what it says."""
        return read_yaml(find_config(space, [SPACES], "--space"), "--space") if isinstance(space, str) else space

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
        for knob in search_space.parse(space):
            for other in knob.when:
                if other not in TrainSettings.model_fields:
                    raise ValueError(f"{knob.name}: when: found {other}, which is not a setting of train")
        for name in CHOOSES_ROWS:
            if name in space:
                raise ValueError(
                    f"{name}: it chooses the validation rows, and trials must be measured on the same ones"
                )
        for name in PLACEMENT:
            if name in space:
                raise ValueError(f"{name}: it decides what a trial reserves, the same for all: set it in base")
        if "num_classes" in space:
            raise ValueError("num_classes: it follows from the labels; to vary what a class is, vary class_map")
        return space

    @model_validator(mode="after")
    def _comparable(self) -> "TuneSettings":
        losses = ("head", "threshold_weights", "label_smoothing", "class_map", "targets")
        changed = [name for name in losses if name in self.space]
        if self.metric == "loss" and changed:
            raise ValueError(
                f"metric: loss is another quantity for each value of {', '.join(changed)}; good_bad_auc compares them"
            )
        if self.metric in IN_CLASSES and "class_map" in self.space:
            raise ValueError(
                f"metric: {self.metric} counts classes, which are others for each class_map; good_bad_auc compares them"
            )
        if self.num_samples > 1 and all(knob.kind == "grid" for knob in self.knobs):
            raise ValueError(
                f"num_samples: found {self.num_samples}; the space draws nothing, so that each pass would be the same"
            )
        return self

    @property
    def knobs(self) -> list[search_space.Knob]:
        return search_space.parse(self.space)

    @property
    def mode(self) -> str:
        return SELECT_MODES[self.metric]

    def required(self) -> None:
        """Raises UsageError when a flag without which nothing can run is absent."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise UsageError(f"tune: {name} is required (--{name})")
