"""Overlap on (staleness 1) against off (0): seconds per step of the same run on the same cores.

    python -m tests.benchmarks.dpo_overlap --output /tmp/dpo_overlap --rounds 2

`on` and `off` with one thread a role: rollouts of the next step have a core while reference and learner have another;
without overlap one of two cores rests. `off, all cores`: every role takes all cores in its turn, which is what overlap
has to beat. `on, defaults`: overlap with `--threads 0`. They take turns; prints seconds and processor seconds a step.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from tests.benchmarks.dpo_material import Watch, policy, size_arguments, step_settings
from tests.rl.tiny import ShareOfE

WAYS: dict[str, dict[str, Any]] = {
    "off": {"staleness": 0, "threads": 1},
    "on": {"staleness": 1, "threads": 1},
    "off, all cores": {"staleness": 0, "threads": 0},
    "on, defaults": {"staleness": 1, "threads": 0},
}


def main() -> None:
    given = arguments()
    root = Path(given.output)
    root.mkdir(parents=True, exist_ok=True)
    policy_path = policy(root, given.shape, given.prompt_tokens + given.tokens)
    print(json.dumps(vars(given) | {"cores": os.cpu_count(), "dtype": "float32"}), flush=True)
    from wildreward.cluster import cluster

    rounds: list[dict[str, dict[str, float]]] = []
    with cluster("local"):
        for number in range(given.rounds):
            order = list(WAYS) if number % 2 == 0 else list(WAYS)[::-1]
            rounds.append({way: one(given, root, policy_path, way) for way in order})
            print(json.dumps({"round": number, **rounds[-1]}), flush=True)
    for over, under in (("off", "on"), ("off, all cores", "on"), ("off, all cores", "on, defaults")):
        ratios = [round(found[over]["wall_s"] / found[under]["wall_s"], 3) for found in rounds]
        print(f"({over}) / ({under}): median {statistics.median(ratios):.2f} of {ratios}")


def one(given: argparse.Namespace, root: Path, policy_path: Path, way: str) -> dict[str, float]:
    from rl.program import improve

    settings = step_settings(root, policy_path, given, **WAYS[way])
    with Watch(Path(settings.output, "metrics.jsonl")) as watch:
        improve(settings, ShareOfE)
    wall, processor = watch.per_step(given.warm)
    return {"wall_s": round(wall, 3), "processor_s": round(processor, 3)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size_arguments(parser, steps=8, warm=2)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
