"""`wildreward dpo --policy DIR --checkpoint REWARD_MODEL --input PROMPTS --output DIR --steps N`: online DPO.

Also `python -m rl ...`. Writes policy/ (Hugging Face, as the last step left it), policy_best/ (the best by evaluation),
metrics.jsonl, samples.jsonl, tensorboard/, checkpoints/, settings.yaml, summary.json and report.html. The same command
after a kill continues.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from rl.checkpoints import Checkpoints, State, publish_policy
from rl.evaluation import interval, warning_of
from rl.loop import OnlineDpo
from rl.models import load_tokenizer
from rl.prompts import RunPrompts, prompts_of_run
from rl.recorder import Recorder
from rl.report import write_report
from rl.roles import Roles, WeightsAt
from rl.scorer import ScorerFactory
from rl.scoring import RunScorers, identity_of, scorers_of
from rl.start_checks import check_positions, check_scale, check_words
from wildreward import storage, trackers
from wildreward.cluster import stage_cluster
from wildreward.errors import CheckpointError, UsageError
from wildreward.logs import run_id
from wildreward.run_directory import DONE, facts, finish, open_run
from wildreward.settings.dpo import FREE_ON_RESUME, DpoSettings

BEST = "policy_best"
OWNED = (
    "checkpoints", "policy", BEST, "metrics.jsonl", "samples.jsonl", "tensorboard", "summary.json", "report.html",
    "wandb", trackers.RUNS,
)  # fmt: skip


def run(settings: DpoSettings) -> None:
    """The command. Raises UsageError before anything starts, WildrewardError afterwards."""
    for name in ("policy", "input", "output"):
        if not getattr(settings, name):
            raise UsageError(f"dpo: {name} is required (--{name})")
    trackers.check(settings.track)
    sources = scorers_of(settings)
    second = sources["second"].load if "second" in sources else None
    improve(settings, sources["reward"].load, second, lambda: identity_of(sources))


def improve(
    settings: DpoSettings,
    factory: ScorerFactory,
    second: ScorerFactory | None = None,
    identity: Callable[[], str] = str,
) -> dict[str, Any]:
    """A run with rewards from `factory`'s scorer; its summary, which is also in summary.json.

    `identity` says, on the connected cluster, which scorers these are: a run that is continued must have the same.
    """
    if done := _finished(settings):
        print(f"already finished: {settings.steps} steps are in {settings.output}; raise --steps to continue")
        return done
    tokenizer = load_tokenizer(settings.policy, settings.trust_remote_code)
    check_positions(settings)
    prompts = prompts_of_run(settings, tokenizer)
    open_run(settings, OWNED, FREE_ON_RESUME)
    print(
        f"{len(prompts.training)} prompts, {len(prompts.held_out)} held out; skipped: {dict(prompts.skipped) or 'none'}"
    )
    started = time.perf_counter()
    checkpoints = Checkpoints(settings.output, settings.keep_checkpoints)
    with stage_cluster("dpo", settings, here_only={"input", "eval_input"}):
        described = _work(settings, RunScorers(factory, second, identity()), prompts, checkpoints)
    return _finish(settings, checkpoints, prompts, described, time.perf_counter() - started)


def _finished(settings: DpoSettings) -> dict[str, Any] | None:
    """The summary of a run that has all its steps; its prompts need not be read again to say so."""
    if settings.overwrite or not storage.exists(storage.join(settings.output, DONE)):
        return None
    if open_run(settings, OWNED, FREE_ON_RESUME) != "done":
        return None
    done = facts(settings.output)
    return done if done["steps"] == settings.steps else None


def _work(
    settings: DpoSettings, scorers: RunScorers, prompts: RunPrompts, checkpoints: Checkpoints
) -> dict[str, dict[str, Any]]:
    """All steps that are left; what the scorers say of themselves."""
    directory, state = _where(settings, checkpoints, scorers, prompts)
    roles = Roles(settings, scorers)
    try:
        described = roles.describe_scorers()
        check_scale(settings, described["reward"])
        check_words(settings, roles, prompts.held_out)
        behind = WeightsAt()
        if directory:
            roles.load(directory, state.version)
            behind = roles.load_behind(directory, state.behind)
            print(f"continuing after step {state.step} from {directory}")
        with Recorder(settings, state.step if directory else -1) as recorder:
            loop = OnlineDpo(
                settings, roles, prompts.training, prompts.held_out, state, recorder, checkpoints, behind
            )  # fmt: skip
            loop.run()
    finally:
        roles.close()
    return described


def _where(
    settings: DpoSettings, checkpoints: Checkpoints, scorers: RunScorers, prompts: RunPrompts
) -> tuple[str, State]:
    """The checkpoint to go on from, empty for the start. Raises UsageError for a run of other prompts or scorers."""
    found = checkpoints.latest()
    if found is None:
        return "", State(prompts=prompts.digest, scorers=scorers.identity)
    directory, state = found
    if state.step > settings.steps:
        raise UsageError(
            f"--steps {settings.steps}: {directory} is further on; choose another --output, or --overwrite"
        )
    for name, then, now in (
        ("--input or --eval-input: the prompts in it", state.prompts, prompts.digest),
        ("--checkpoint, --handle, --callable or --eval-...: what scores", state.scorers, scorers.identity),
    ):
        if then != now:
            raise UsageError(f"{name} changed since the run in {settings.output} began; --overwrite starts anew")
    return directory, state


def _finish(
    settings: DpoSettings,
    checkpoints: Checkpoints,
    prompts: RunPrompts,
    described: dict[str, dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """Publish the policies, write the summary and the report, say what happened."""
    found = checkpoints.latest()
    if found is None or found[1].best is None:
        raise CheckpointError(f"--output {settings.output}: its checkpoints are gone")
    directory, state, best_step = *found, found[1].best
    last, best = state.evaluations[state.step], state.evaluations[best_step]
    summary = {
        "run_id": run_id(),
        "steps": state.step,
        "pairs": state.pairs,
        **_compared(last["reward"]),
        "second": _compared(last["second"]) if "second" in last else None,
        "best": {"step": best_step, "selected_by": settings.select_by}
        | {name: _compared(item) for name, item in best.items()},
        "warning": warning_of(last),
        "skipped_prompts": dict(prompts.skipped),
        "skipped_pairs": dict(state.skipped),
        "completions": dict(state.completions),
        "scorers": described,
        "step_seconds": state.seconds,
        "seconds": seconds,
        "policy": publish_policy(directory, settings.output),
        "policy_best": publish_policy(checkpoints.place(best_step), settings.output, BEST),
    }
    write_report(settings, state, summary)
    storage.write_text(storage.join(settings.output, "summary.json"), json.dumps(summary, indent=2) + "\n")
    finish(settings.output, summary)
    _show(settings, summary)
    return summary


def _compared(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "reward": {key: value for key, value in found.items() if key != "win_rate"},
        "win_rate": found["win_rate"],
    }


def _show(settings: DpoSettings, summary: dict[str, Any]) -> None:
    rows: list[tuple[str, Any]] = []
    for name, found in (("", summary), ("second scorer: ", summary["second"])):
        if found:
            measures = ((f"reward {when}", found["reward"][when]) for when in ("before", "after", "difference"))
            rows += [(f"{name}{what}", interval(value)) for what, value in measures]
            rows.append((f"{name}win rate against the start", interval(found["win_rate"])))
    best = summary["best"]
    rows += [
        ("pairs", f"{summary['pairs']} (skipped: {summary['skipped_pairs'] or 'none'})"),
        ("policy", f"{summary['policy']} (step {summary['steps']})"),
        ("best by evaluation", f"{summary['policy_best']} (step {best['step']})"),
        ("report", storage.join(settings.output, "report.html")),
    ]
    for what, value in rows:
        print(f"{what:<43}{value}")
    if best[best["selected_by"]]["reward"]["difference"]["mean"] <= 0:
        print("no evaluated step is better than the starting policy")
    if summary["warning"]:
        print(f"warning: {summary['warning']}")
