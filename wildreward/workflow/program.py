"""`wildreward run pipeline.yaml`: label, train, evaluate, then serve or dpo, as one resumable run on one Ray cluster.

    # pipeline.yaml
    output: s3://bucket/nightly
    address: auto
    stages:
      label: {config: wildchat, input: [s3://bucket/chats]}
      train: {config: qwen3-4b}
      evaluate: {input: ["${label}", rewardbench]}
      serve: {config: gpu}

The same command again does what is not done: a stage that was interrupted continues, one whose settings or inputs
changed is made anew beside the old one (and so is what reads from it), the rest is left alone.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wildreward import storage
from wildreward.cli import STAGES, run_settings
from wildreward.cluster import cluster
from wildreward.console import print_table
from wildreward.errors import UsageError, WildrewardError
from wildreward.logs import logged
from wildreward.settings.run import ORDER, RunSettings
from wildreward.workflow.manifest import DONE, Manifest
from wildreward.workflow.plan import Step, plan

SETTINGS = "settings"


def run(settings: RunSettings) -> None:
    """Do what is not done. Raises UsageError before anything starts, WildrewardError naming the stage that failed."""
    _check_serve(settings)
    steps = plan(settings)
    manifest = Manifest.load(settings.output)
    states = {step.name: "again" if settings.overwrite else manifest.state(step) for step in steps}
    _show_plan(steps, states, manifest)
    if settings.dry_run:
        return
    todo = [step for step in steps if _is_due(step, states[step.name])]
    if todo:
        with cluster(settings.address):
            for step in todo:
                _do(step, manifest, anew=settings.overwrite, settings=settings)
    else:
        print("run: all stages are done; change a setting or an input, or say --overwrite to make them again")
    if settings.prune:
        _prune(settings.output, steps)
    _show_end(steps, manifest)


def _is_due(step: Step, state: str) -> bool:
    """A scorer may have been taken down since: serving is asked for every time, and costs nothing where it runs."""
    return state != DONE or step.name == "serve"


def _check_serve(settings: RunSettings) -> None:
    if "serve" in settings.stages and settings.address in {None, "local"}:
        raise UsageError(
            f"stages.serve: needs a cluster that outlives this command; found address {settings.address}, allowed are "
            "auto, HOST:PORT and ray://HOST:PORT"
        )


def _do(step: Step, manifest: Manifest, anew: bool, settings: RunSettings) -> None:
    stage = STAGES[step.name]
    file = storage.join(settings.output, SETTINGS, f"{step.name}-{step.key}.yaml")
    storage.write_text(file, step.settings.to_yaml())
    print(f"\n== {step.name}\n$ wildreward {step.name} --config {file}", flush=True)
    given = step.settings.model_copy(update={"overwrite": True}) if anew else step.settings
    started = time.monotonic()
    manifest.begin(step)
    with _recorded(step, manifest, started), logged(step.name, given.log_format):
        run_settings(stage, given)
    manifest.end(step, time.monotonic() - started)


@contextmanager
def _recorded(step: Step, manifest: Manifest, started: float) -> Iterator[None]:
    """Notes a failure in the manifest and lets it through. What was done of the stage stays and is continued."""
    try:
        yield
    except WildrewardError as error:
        manifest.end(step, time.monotonic() - started, error=str(error))
        raise type(error)(f"stage {step.name}: {error}") from error


def _show_plan(steps: Sequence[Step], states: dict[str, str], manifest: Manifest) -> None:
    what = {
        DONE: "done",
        "new": "to do",
        "changed": "changed",
        "again": "again (--overwrite)",
        "interrupted": "continues",
        "failed": "again after its failure",
    }
    rows = []
    for step in steps:
        state = states[step.name]
        differing = ", ".join(manifest.differing(step)) if state == "changed" else ""
        rows.append([step.name, f"changed: {differing}" if differing else what[state], step.output])
    print_table(["stage", "state", "output"], rows)


def _prune(output: str, steps: Sequence[Step]) -> None:
    kept = {step.output for step in steps}
    for path in storage.children(output):
        name = path.rsplit("/", 1)[1]
        stage, _, key = name.rpartition("-")
        if stage in ORDER and len(key) == 12 and path not in kept:
            print(f"run: deletes {path}, which this run does not use")
            storage.remove(path)


def _show_end(steps: Sequence[Step], manifest: Manifest) -> None:
    print()
    rows = [
        [step.name, manifest.stages[step.name]["state"], f"{manifest.stages[step.name]['seconds']:g}", step.output]
        for step in steps
    ]
    print_table(["stage", "state", "seconds", "output"], rows)
    print(f"manifest: {manifest.path}")
