"""`wildreward dpo --policy DIR --checkpoint REWARD_MODEL --input PROMPTS --output DIR --steps N`: online DPO.

Also `python -m rl ...`. Writes policy/ (Hugging Face), metrics.jsonl, samples.jsonl, tensorboard/,
checkpoints/, settings.yaml, summary.json and report.html. The same command after a kill continues.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.checkpoints import Checkpoints, State, publish_policy
from rl.loop import OnlineDpo
from rl.models import load_tokenizer, prompt_ids
from rl.recorder import Recorder
from rl.report import write_report
from rl.roles import PolicyPrompt, Roles
from rl.scorer import ScorerFactory, reward_model_factory
from wildreward.cluster import cluster
from wildreward.errors import UsageError
from wildreward.improvement import improvement
from wildreward.prompts import Prompt, read_prompts, split_held_out
from wildreward.run_directory import facts, finish, open_run
from wildreward.settings.dpo import FREE_ON_RESUME, DpoSettings
from wildreward.storage import is_local, write_text

OWNED = ("checkpoints", "policy", "metrics.jsonl", "samples.jsonl", "tensorboard", "summary.json", "report.html")


def run(settings: DpoSettings) -> None:
    """The command. Raises UsageError before anything starts, WildrewardError afterwards."""
    check(settings)
    factory = reward_model_factory(
        settings.checkpoint, settings.device, settings.dtype, settings.template, settings.trust_remote_code
    )
    improve(settings, factory)


def check(settings: DpoSettings) -> None:
    """Raises UsageError for what can be known to be wrong without starting anything."""
    for name in ("policy", "checkpoint", "input", "output"):
        if not getattr(settings, name):
            raise UsageError(f"dpo: {name} is required (--{name})")
    if not is_local(settings.output):
        raise UsageError(f"--output {settings.output}: dpo writes to a local or shared file system")
    if not Path(settings.checkpoint).is_dir() and Path(settings.checkpoint).is_absolute():
        raise UsageError(f"--checkpoint {settings.checkpoint}: no such directory")


def improve(settings: DpoSettings, factory: ScorerFactory) -> dict[str, Any]:
    """A run with rewards from `factory`'s scorer; its summary, which is also in summary.json."""
    tokenizer = load_tokenizer(settings.policy, settings.trust_remote_code)
    prompts, held_out, skipped = _prompts(settings, tokenizer)
    output = Path(settings.output)
    if open_run(settings, OWNED, FREE_ON_RESUME) == "done":
        done = facts(settings.output)
        if done["steps"] == settings.steps:
            print(f"already finished: {settings.steps} steps are in {output}; raise --steps to continue")
            return done
    print(f"{len(prompts)} prompts, {len(held_out)} held out; skipped: {dict(skipped) or 'none'}")
    started = time.perf_counter()
    checkpoints = Checkpoints(output, settings.keep_checkpoints)
    with cluster(settings.address):
        roles = Roles(settings, factory)
        try:
            state = _resume(checkpoints, roles, settings.steps)
            with Recorder(output, state.step if state.evaluations else -1) as recorder:
                OnlineDpo(settings, roles, prompts, held_out, state, recorder, checkpoints).run()
        finally:
            roles.close()
    return _finish(settings, output, checkpoints, skipped, time.perf_counter() - started)


def _prompts(settings: DpoSettings, tokenizer: Any) -> tuple[list[PolicyPrompt], list[PolicyPrompt], Counter[str]]:
    """(training, held out, skipped by reason). Raises UsageError when too few are left."""
    read, skipped = read_prompts(settings.input, settings.prompt_turn)
    usable = _fitting(read, tokenizer, settings.max_prompt_tokens, skipped)
    if settings.eval_input:
        others, more = read_prompts(settings.eval_input, settings.prompt_turn)
        skipped += more
        held_out = _fitting(others, tokenizer, settings.max_prompt_tokens, skipped)[: settings.eval_prompts]
        groups = {item.prompt.group for item in held_out}
        kept = [item for item in usable if item.prompt.group not in groups]
        skipped["also_held_out"] += len(usable) - len(kept)
        usable = kept
    else:
        count = min(settings.eval_prompts, len(usable) // 2)
        by_id = {item.prompt.id: item for item in usable}
        training, evaluation = split_held_out([item.prompt for item in usable], count, settings.seed)
        usable, held_out = [by_id[item.id] for item in training], [by_id[item.id] for item in evaluation]
    if not usable or not held_out:
        raise UsageError(
            f"--input {' '.join(settings.input)}: {len(usable)} prompts to train on and {len(held_out)} held out "
            f"are left; skipped: {dict(skipped) or 'none'}"
        )
    return usable, held_out, +skipped


def _fitting(prompts: Sequence[Prompt], tokenizer: Any, limit: int, skipped: Counter[str]) -> list[PolicyPrompt]:
    encoded = [PolicyPrompt(prompt, tuple(prompt_ids(tokenizer, prompt.messages))) for prompt in prompts]
    fitting = [item for item in encoded if len(item.ids) <= limit]
    skipped["too_long"] += len(encoded) - len(fitting)
    return fitting


def _resume(checkpoints: Checkpoints, roles: Roles, steps: int) -> State:
    found = checkpoints.latest()
    if found is None:
        return State()
    directory, state = found
    if state.step > steps:
        raise UsageError(f"--steps {steps}: {directory} is further on; choose another --output, or --overwrite")
    roles.load(str(directory), state.version)
    print(f"continuing after step {state.step} from {directory}")
    return state


def _finish(
    settings: DpoSettings, output: Path, checkpoints: Checkpoints, skipped: Counter[str], seconds: float
) -> dict[str, Any]:
    """Publish the policy, write the summary and the report, say what happened."""
    found = checkpoints.latest()
    if found is None:
        raise UsageError(f"--output {output}: its checkpoints are gone")
    directory, state = found
    policy = publish_policy(directory, output)
    result = improvement(state.evaluations[0], state.evaluations[state.step], settings.seed)
    summary = {
        "steps": state.step,
        "pairs": state.pairs,
        "reward": {key: value for key, value in result.to_dict().items() if key != "win_rate"},
        "win_rate": result.to_dict()["win_rate"],
        "skipped_prompts": dict(skipped),
        "skipped_pairs": dict(state.skipped),
        "step_seconds": state.seconds,
        "seconds": seconds,
        "policy": str(policy),
    }
    write_report(output, settings, state, result)
    write_text(str(output / "summary.json"), json.dumps(summary, indent=2) + "\n")
    finish(settings.output, summary)
    for name, value in (
        ("reward before", result.before),
        ("reward after", result.after),
        ("difference", result.difference),
        ("win rate against the start", result.win_rate),
        ("pairs", f"{state.pairs} (skipped: {dict(state.skipped) or 'none'})"),
        ("policy", policy),
        ("report", output / "report.html"),
    ):
        print(f"{name:<28}{value}")
    return summary
