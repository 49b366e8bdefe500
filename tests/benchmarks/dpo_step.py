"""Steps of online DPO with every role on one device: seconds and tokens per second of each role.

    python -m tests.benchmarks.dpo_step --output /tmp/dpo_step                                    # a CPU, 14M
    python -m tests.benchmarks.dpo_step --output /tmp/dpo_step --device cuda --shape 1b --dtype bfloat16 \\
        --rollout vllm --prompts 64 --completions 8 --tokens 256

A random Llama of the given shape; with cuda the four roles share one GPU. Prints means over `--steps` after `--warm`.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from tests.benchmarks.dpo_material import SHAPES, policy, size_arguments, step_settings
from tests.rl.tiny import ShareOfE


def main() -> None:
    given = arguments()
    root = Path(given.output)
    root.mkdir(parents=True, exist_ok=True)
    policy_path = policy(root, given.shape, given.prompt_tokens + given.tokens)
    from rl.program import improve

    settings = step_settings(
        root,
        policy_path,
        given,
        rollout=given.rollout,
        device=given.device,
        dtype=given.dtype,
        staleness=given.staleness,
        gpus_per_actor=0.25,
    )
    improve(settings, ShareOfE)
    rows = [json.loads(line) for line in Path(settings.output, "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "seconds/step" in row][given.warm :]
    shown = [name for name in rows[0] if name.startswith(("seconds/", "tokens_per_s/")) or name == "completion/tokens"]
    means: dict[str, Any] = {name: round(statistics.fmean(row[name] for row in rows), 3) for name in shown}
    print(json.dumps(vars(given) | {"cores": os.cpu_count(), "layers": SHAPES[given.shape]["layers"]} | means))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size_arguments(parser, steps=4, warm=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rollout", default="transformers", choices=["transformers", "vllm"])
    parser.add_argument("--staleness", type=int, default=0, choices=[0, 1])
    return parser.parse_args()


if __name__ == "__main__":
    main()
