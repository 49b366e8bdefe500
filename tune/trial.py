"""One trial: a Ray Train run with the trial's settings, whose evaluations Ray Tune sees as they come.

A trial that was interrupted goes on from its last Ray Train checkpoint; one that had ended tells Ray Tune again what it
found, and trains nothing: Ray Tune's own record of a sweep may be seconds old when its driver is killed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune import records
from wildreward import storage
from wildreward.errors import WildrewardError
from wildreward.settings.train import TrainSettings


@dataclass(frozen=True)
class Sweep:
    """What all trials share: settings of train, where to write, whether to keep checkpoints while training."""

    base: Mapping[str, Any]
    output: str
    threads: int
    checkpoints: bool

    def settings_of(self, varied: Mapping[str, Any]) -> TrainSettings:
        """The settings of a trial. Raises UsageError."""
        said = ", ".join(f"{name}={value}" for name, value in varied.items())
        settings = TrainSettings.parse({**self.base, **varied}, f"tune (trial {said})")
        return settings if settings.threads else settings.model_copy(update={"threads": self.threads})


def run_trial(sweep: Sweep, name: str, varied: Mapping[str, Any]) -> None:
    """Train, or go on training; nothing is kept but the metrics."""
    from ray import tune

    record = records.read(sweep.output, name, varied)
    if record.state in ("finished", "stopped"):
        for _, evaluation in sorted(record.evaluations.items()):
            tune.report({name: value for name, value in evaluation.items() if name != "kind"})
        return
    records.forget_outcome(sweep.output, name)
    try:
        _train(sweep, name, varied, tune.get_context().get_trial_id())
    except WildrewardError as error:
        # Written here: Ray Tune's own file of the error is not there yet when it tells the driver.
        records.write_outcome(sweep.output, name, "failed", records.cause(str(error)))
        raise
    records.write_outcome(sweep.output, name, "finished")


def _train(sweep: Sweep, name: str, varied: Mapping[str, Any], tune_id: str) -> None:
    from ray.tune.integration.ray_train import TuneReportCallback

    from train.checkpoint_list import mend_list
    from train.program import fit

    settings = sweep.settings_of(varied)
    data = tokenised(sweep, settings)
    records.write_start(sweep.output, name, varied, data.total_steps, tune_id)
    path = records.run_path(sweep.output, name)
    mend_list(path)
    fit(settings, data, path, callbacks=[TuneReportCallback()], save=sweep.checkpoints)


def tokenised(sweep: Sweep, settings: TrainSettings) -> Any:
    """The rows of a trial as tokens: those that tokenise alike share the files. Raises what `train` would."""
    from train import tokens
    from train.program import open_backbone, prepare

    files = tokens.inspect(tokens.resolve(settings.input), settings.labelling)
    directory = storage.join(sweep.output, "tokens", tokens_key(settings))
    return prepare(settings, files, open_backbone(settings), directory)


def tokens_key(settings: TrainSettings) -> str:
    """Names the settings that token ids depend on."""
    names = ("backbone", "template", "max_tokens", "pad_token")
    text = json.dumps([getattr(settings, name) for name in names])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
