"""`wildreward tune`: a sweep over the settings of `train` on Ray Tune.

    wildreward tune --config heads --input runs/label --output runs/tune
    wildreward train --config runs/tune/best.yaml --output runs/train

Writes results.parquet (a row a trial), best.yaml (settings that `train --config` takes), trials/ (metrics of each) and
sweep/ (Ray Tune's own state). The same command again continues a sweep that was stopped; finished trials stay.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tune.results import best_settings, rows_of, show, write_results
from tune.trial import run_trial
from tune.watch import watching
from wildreward import run_directory, storage
from wildreward.cluster import cluster
from wildreward.errors import WildrewardError
from wildreward.settings.base import find_config, read_yaml
from wildreward.settings.train import TrainSettings
from wildreward.settings.tune import TuneSettings

OWNED = ("sweep", "trials", "tokens", "results.parquet", "best.yaml")
FREE = frozenset({"max_concurrent_trials"})
TRAIN_PRESETS = Path(__file__).resolve().parent.parent / "train" / "presets"


def run(settings: TuneSettings) -> None:
    """Run the sweep, or continue it, or say that it is done. Raises WildrewardError."""
    settings.required()
    base = base_settings(settings)
    check_space(settings.space, base)
    _check_input(base)
    if run_directory.open_run(settings, OWNED, FREE) == "done":
        print(f"tune: {settings.output} is done already; --overwrite sweeps again")
        show(run_directory.facts(settings.output), settings.metric)
        return
    with cluster(settings.address):
        facts = sweep(settings, base)
    run_directory.finish(settings.output, facts)
    show(facts, settings.metric)


def base_settings(settings: TuneSettings) -> dict[str, Any]:
    """What every trial starts from, validated. Raises UsageError."""
    preset = read_yaml(find_config(settings.train_config, [TRAIN_PRESETS])) if settings.train_config else {}
    ruled = {"input": settings.input, "output": settings.output, "select_by": settings.metric}
    values = {"seed": settings.seed, **preset, **settings.base, **ruled}
    TrainSettings.parse(values, "tune (base)")
    return values


def check_space(space: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    """Every listed value and both ends of every range must be good settings of train. Raises UsageError."""
    for name, values in space.items():
        for value in values if isinstance(values, list) else next(iter(values.values())):
            TrainSettings.parse({**base, name: value}, f"tune (space {name})")


def _check_input(base: Mapping[str, Any]) -> None:
    """The errors of input and backbone that all trials would fail with."""
    from train import tokens
    from train.program import open_backbone

    settings = TrainSettings.parse(base)
    files = tokens.inspect(tokens.resolve(settings.input), settings.labelling)
    tokens.check_split("training", files)
    open_backbone(settings)


def sweep(settings: TuneSettings, base: dict[str, Any]) -> dict[str, Any]:
    """Run what is left of the sweep and write its results. Raises WildrewardError when no trial came through."""
    with watching(settings.grid_size) as watcher:
        results = _tuner(settings, base, watcher).fit()
    rows = rows_of(results, settings)
    if not any(row["error"] is None for row in rows):
        raise WildrewardError(f"no trial came through; the first says: {rows[0]['error'] if rows else 'nothing'}")
    write_results(storage.join(settings.output, "results.parquet"), rows)
    best = best_settings(rows, settings, base)
    storage.write_text(
        storage.join(settings.output, "best.yaml"), yaml.safe_dump(best, sort_keys=False, allow_unicode=True)
    )
    return {"output": settings.output, "trials": rows, "best": rows[0]["trial"]}


def _tuner(settings: TuneSettings, base: dict[str, Any], watcher: Any) -> Any:
    """A new sweep, or the one that was stopped."""
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        run_trial({**base, **config}, settings.output)

    # Nearly nothing for the trial itself: its Ray Train workers reserve what they need. 0 is refused.
    trial = tune.with_resources(trainable, {"CPU": 0.01})
    storage_path = settings.output if not storage.is_local(settings.output) else os.path.abspath(settings.output)
    path = storage.join(storage_path, "sweep")
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable=trial, restart_errored=True)
    return tune.Tuner(
        trial,
        param_space={name: _domain(values) for name, values in settings.space.items()},
        tune_config=tune.TuneConfig(
            metric=settings.metric,
            mode=settings.mode,
            num_samples=settings.num_samples,
            max_concurrent_trials=settings.max_concurrent_trials,
            scheduler=_scheduler(settings),
            search_alg=tune.search.BasicVariantGenerator(random_state=settings.seed),
        ),
        run_config=tune.RunConfig(name="sweep", storage_path=storage_path, verbose=0, callbacks=[watcher]),
    )


def _domain(values: Sequence[Any] | Mapping[str, Any]) -> Any:
    from ray import tune

    if isinstance(values, list):
        return tune.grid_search(values)
    ((kind, bounds),) = dict(values).items()
    return getattr(tune, kind)(*bounds)


def _scheduler(settings: TuneSettings) -> Any:
    from ray.tune.schedulers import ASHAScheduler

    if not settings.asha:
        return None
    return ASHAScheduler(grace_period=settings.asha_grace_evaluations, reduction_factor=settings.asha_reduction_factor)
