"""`wildreward tune`: a sweep over the settings of `train` on Ray Tune.

    wildreward tune --config heads --input runs/label --output runs/tune
    wildreward tune --space my_space.yaml --train-config minilm --asha --input runs/label --output runs/tune
    wildreward train --config runs/tune/best.yaml --output runs/train

Writes results.parquet (a row a trial), best.yaml (settings that `train --config` takes), report.html with its pictures
(parallel_coordinates.png, importance.png), trials/ (metrics of each) and sweep/ (Ray Tune's own state). The same
command again continues a sweep that was stopped: trials that ended stay, others go on from their last checkpoint.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tune import records
from tune.records import TrialRecord
from tune.resources import TRIAL_CPUS, Placement, place, supply
from tune.results import Row, best_settings, rows_of, show, write_results
from tune.trial import Sweep, run_trial, tokenised, tokens_key
from wildreward import run_directory, search_space, storage, sweep_report
from wildreward.cluster import stage_cluster
from wildreward.errors import UsageError, WildrewardError
from wildreward.settings.base import find_config, read_yaml
from wildreward.settings.train import TrainSettings
from wildreward.settings.tune import TuneSettings

OWNED = (
    "sweep", "trials", "tokens", "results.parquet", "best.yaml", "report.html", "parallel_coordinates.png",
    "importance.png",
)  # fmt: skip
TRAIN_PRESETS = Path(__file__).resolve().parent.parent / "train" / "presets"

Plan = dict[str, search_space.Trial]
"""Trials by name, in the order of the search space."""


def run(settings: TuneSettings) -> None:
    """Run the sweep, or continue it, or say that it is done. Raises WildrewardError."""
    settings.required()
    base = base_settings(settings)
    plan = plan_of(settings, base)
    _check_input(base)
    if run_directory.open_run(settings, OWNED) == "done":
        print(f"tune: {settings.output} is done already; --overwrite sweeps again")
        show(run_directory.facts(settings.output), settings.metric)
        return
    with stage_cluster("tune", settings):
        trials = sweep(settings, base, plan)
    facts = report(settings, base, trials)
    if facts["best"] is None:
        show(facts, settings.metric)
        raise WildrewardError(f"no trial came through; the first says: {facts['trials'][0]['error']}")
    run_directory.finish(settings.output, facts)
    show(facts, settings.metric)


def base_settings(settings: TuneSettings) -> dict[str, Any]:
    """What every trial starts from, validated. Raises UsageError."""
    preset = read_yaml(find_config(settings.train_config, [TRAIN_PRESETS])) if settings.train_config else {}
    ruled = {"input": settings.input, "output": settings.output, "select_by": settings.metric}
    values = {"seed": settings.seed, **preset, **settings.base, **ruled}
    base = TrainSettings.parse(values, "tune (base)")
    if not base.validation_frac:
        raise UsageError("tune (base): validation_frac: found 0; trials are ranked by validation rows")
    return values


def plan_of(settings: TuneSettings, base: Mapping[str, Any]) -> Plan:
    """The trials, each of which must be good settings of train, and so must both ends of every range."""
    for knob in settings.knobs:
        for value in knob.examples():
            if knob.name not in search_space.IMPLIED and not knob.when:
                TrainSettings.parse({**base, knob.name: value}, f"tune (space {knob.name})")
    defaults = TrainSettings.parse(base).model_dump()
    found = search_space.trials(settings.knobs, defaults, settings.num_samples, settings.seed)
    sweep_of = Sweep(base, settings.output, threads=1, checkpoints=False)
    for varied in found:
        sweep_of.settings_of(varied)
    return dict(zip(records.names(len(found)), found, strict=True))


def _check_input(base: Mapping[str, Any]) -> None:
    """The errors of input and backbone that all trials would fail with."""
    from train import tokens
    from train.program import open_backbone

    settings = TrainSettings.parse(base)
    files = tokens.inspect(tokens.resolve(settings.input), settings.labelling)
    tokens.check_split("training", files)
    open_backbone(settings)


def sweep(settings: TuneSettings, base: Mapping[str, Any], plan: Plan) -> list[TrialRecord]:
    """Run what is left of the sweep. Raises KeyboardInterrupt when it was stopped by hand."""
    from tune.watch import Board, watching

    placement = place(settings, TrainSettings.parse(base), supply(TrainSettings.parse(base)), len(plan))
    print(f"tune: {placement.text}", flush=True)
    shared = Sweep(base, settings.output, placement.threads, settings.checkpoint_trials)
    _tokenise(shared, plan)
    _prepare_ray()
    board = Board(settings.output, plan, settings.metric, settings.mode)
    with watching(board) as watcher:
        _tuner(settings, shared, plan, placement, watcher).fit()
    trials = list(board.trials.values())
    left = [record.name for record in trials if record.state not in records.ENDED]
    if left:
        # Ray Tune takes the signal, saves its state and returns as if the sweep were done.
        print(f"tune: stopped with {len(left)} of {len(plan)} trials to do; what ended is kept", flush=True)
        raise KeyboardInterrupt
    for record in trials:
        storage.remove(records.run_path(settings.output, record.name))
    return trials


def _prepare_ray() -> None:
    """The board says what happens; Ray Tune's own tables, and its traces of failed trials, come on top otherwise.
    And an evaluation at which the metric is undefined is no error."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)


def _tokenise(shared: Sweep, plan: Plan) -> None:
    """Once for all trials that tokenise alike, before any starts."""
    alike = {tokens_key(found): found for found in map(shared.settings_of, plan.values())}
    for found in alike.values():
        tokenised(shared, found)


def _tuner(settings: TuneSettings, shared: Sweep, plan: Plan, placement: Placement, watcher: Any) -> Any:
    """A new sweep, or the one that was stopped."""
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        run_trial(shared, config["name"], plan[config["name"]])

    trial = tune.with_resources(trainable, {"CPU": TRIAL_CPUS})
    output = settings.output if not storage.is_local(settings.output) else os.path.abspath(settings.output)
    path = storage.join(output, "sweep")
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable=trial, resume_errored=True)
    return tune.Tuner(
        trial,
        # The trials are drawn by search_space.py: Ray Tune's own domains know no conditions, and draw anew on restore.
        param_space={"name": tune.grid_search(list(plan))},
        tune_config=tune.TuneConfig(
            metric=settings.metric,
            mode=settings.mode,
            max_concurrent_trials=placement.at_a_time,
            scheduler=_scheduler(settings, plan),
            trial_name_creator=lambda trial: trial.config["name"],
            trial_dirname_creator=lambda trial: trial.config["name"],
        ),
        run_config=tune.RunConfig(name="sweep", storage_path=output, verbose=0, callbacks=[watcher]),
    )


def _scheduler(settings: TuneSettings, plan: Plan) -> Any:
    from tune.asha import ResumableAsha

    if not settings.asha:
        return None
    grace, factor = settings.asha_grace_evaluations, settings.asha_reduction_factor
    return ResumableAsha(settings.output, plan, settings.metric, grace, factor)


def report(settings: TuneSettings, base: Mapping[str, Any], trials: list[TrialRecord]) -> dict[str, Any]:
    """Write the table, the best settings, the report and its pictures. Returns what done.json holds."""
    rows = rows_of(trials, settings)
    write_results(storage.join(settings.output, "results.parquet"), rows)
    facts = {"output": settings.output, "trials": rows, "best": None}
    if not any(row["state"] != "failed" for row in rows):
        return facts
    best = next(record for record in trials if record.name == rows[0]["trial"])
    chosen = best_settings(best.settings, base)
    _write(settings, "best.yaml", yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True).encode())
    _write_report(settings, rows, best.settings)
    return {**facts, "best": best.name}


def _write_report(settings: TuneSettings, rows: list[Row], best: Mapping[str, Any]) -> None:
    made = sweep_report.build(
        sweep_report.SweepFacts(settings.metric, settings.mode, settings.knobs, rows, best, settings.output)
    )
    for name, picture in made.pictures.items():
        _write(settings, name, picture)
    _write(settings, "report.html", made.html.encode())


def _write(settings: TuneSettings, name: str, data: bytes) -> None:
    storage.write_bytes(storage.join(settings.output, name), data)
