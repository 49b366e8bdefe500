"""Does online DPO raise the held-out reward, and does it not when the rewards are shuffled? Three seeds of each.

    python -m tests.benchmarks.dpo_learns --reward-model runs/demo/train/checkpoint --input runs/demo/label \\
        --policy runs/demo/policy --output runs/dpo_learns

With --shuffled only the rewards the learner sees are permuted among each prompt's completions; the held-out prompts are
scored as they are. Prints a line a run, and at the end the mean difference over seeds of both kinds.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.program import improve
from rl.roles import Roles, Scored
from rl.scorer import reward_model_factory
from wildreward.cli import STAGES, read_settings
from wildreward.cluster import cluster
from wildreward.settings.dpo import DpoSettings


def shuffle_collected(seed: int) -> Any:
    """`Roles.collect` with the rewards of each prompt's completions permuted; evaluations are left alone."""
    collect, draw = Roles.collect, random.Random(seed)

    def shuffled(self: Roles, pending: Any) -> Scored:
        scored = collect(self, pending)
        if len(scored.rewards_PG[0]) > 1:  # the demo's evaluations have one completion a prompt
            for rewards_G in scored.rewards_PG:
                draw.shuffle(rewards_G)
        return scored

    return shuffled


def one_run(settings: DpoSettings, shuffled: bool) -> dict[str, Any]:
    """The summary of a run; with `shuffled`, its pairs say nothing about the reward."""
    factory = reward_model_factory(settings.checkpoint, "cpu", "float32", None, False)
    plain = Roles.collect
    if shuffled:
        Roles.collect = shuffle_collected(settings.seed)  # type: ignore[method-assign]  # restored below
    try:
        return improve(settings, factory)
    finally:
        Roles.collect = plain  # type: ignore[method-assign]  # as above


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("policy", "reward-model", "input", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options, rest = parser.parse_known_args(argv)
    results: dict[str, list[float]] = {"reward model": [], "shuffled": []}
    with cluster("local"):
        for seed in range(options.seeds):
            for kind, differences in results.items():
                output = Path(options.output) / f"{kind.replace(' ', '_')}_{seed}"
                arguments = ["--config", "demo", "--policy", options.policy, "--checkpoint", options.reward_model]
                arguments += ["--input", options.input, "--output", str(output), "--seed", str(seed), *rest]
                settings = read_settings(STAGES["dpo"], arguments)
                assert isinstance(settings, DpoSettings)
                summary = one_run(settings, kind == "shuffled")
                differences.append(summary["reward"]["difference"]["mean"])
                line = {name: summary["reward"][name] for name in ("before", "after", "difference")}
                print(json.dumps({"kind": kind, "seed": seed, **line, "step_seconds": summary["step_seconds"]}))
    for kind, differences in results.items():
        print(f"{kind}: mean difference {sum(differences) / len(differences):+.3f} over seeds {differences}")


if __name__ == "__main__":
    main()
