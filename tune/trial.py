"""One trial: a Ray Train run with the trial's settings, whose evaluations Ray Tune sees as they come."""

import hashlib
import json
from typing import Any

from wildreward import storage
from wildreward.settings.train import TrainSettings


def run_trial(values: dict[str, Any], output: str) -> None:
    """Train with `values`; nothing is kept but the metrics. Trials that tokenise alike share the tokens."""
    from ray import tune
    from ray.tune.integration.ray_train import TuneReportCallback

    from train import tokens
    from train.program import fit, open_backbone, prepare

    settings = TrainSettings.parse(values, "trial")
    files = tokens.inspect(tokens.resolve(settings.input), settings.labelling)
    directory = storage.join(output, "tokens", tokens_key(settings))
    data = prepare(settings, files, open_backbone(settings), directory)
    path = storage.join(output, "trials", tune.get_context().get_trial_id(), "run")
    fit(settings, data, path, callbacks=[TuneReportCallback()], save=False)


def tokens_key(settings: TrainSettings) -> str:
    """Names the settings that token ids depend on."""
    names = ("backbone", "template", "max_tokens", "pad_token")
    text = json.dumps([getattr(settings, name) for name in names])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
