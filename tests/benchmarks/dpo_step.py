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
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.dpo_material import SHAPES, policy, prompts, run_settings
from tests.rl.tiny import ShareOfE


def main() -> None:
    given = arguments()
    root = Path(given.output)
    root.mkdir(parents=True, exist_ok=True)
    policy_path = policy(root, given.shape, given.prompt_tokens + given.tokens)
    from rl.program import improve

    settings = run_settings(
        root / f"run_{time.time_ns()}",
        policy_path,
        prompts(policy_path, given.prompts * (given.warm + given.steps), given.prompt_tokens),
        steps=given.warm + given.steps,
        prompts_per_step=given.prompts,
        completions_per_prompt=given.completions,
        max_new_tokens=given.tokens,
        max_prompt_tokens=given.prompt_tokens,
        rollout_batch_prompts=given.prompts,
        rollout=given.rollout,
        device=given.device,
        dtype=given.dtype,
        staleness=given.staleness,
        gpus_per_actor=0.25,
        lr=1e-5,
    )
    improve(settings, ShareOfE)
    rows = [json.loads(line) for line in Path(settings.output, "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "seconds/step" in row][given.warm :]
    shown = [name for name in rows[0] if name.startswith(("seconds/", "tokens_per_s/")) or name == "completion/tokens"]
    means: dict[str, Any] = {name: round(statistics.fmean(row[name] for row in rows), 3) for name in shown}
    print(json.dumps(vars(given) | {"cores": os.cpu_count(), "layers": SHAPES[given.shape]["layers"]} | means))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--shape", default="14m", choices=list(SHAPES))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rollout", default="transformers", choices=["transformers", "vllm"])
    parser.add_argument("--staleness", type=int, default=0, choices=[0, 1])
    parser.add_argument("--prompts", type=int, default=8, help="prompts a step")
    parser.add_argument("--completions", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warm", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
