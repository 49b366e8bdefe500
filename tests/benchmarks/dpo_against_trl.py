"""Seconds per step of `wildreward dpo` against TRL's OnlineDPOTrainer: same policy, prompts, lengths, scorer and dtype.

    python -m tests.benchmarks.dpo_against_trl --output /tmp/dpo_against_trl
    python -m tests.benchmarks.dpo_against_trl --output /tmp/dpo_against_trl --tokens 128 --prompts 16 --rounds 2

A random Llama of 14M parameters writes 2 completions of 64 tokens for each of 8 generated multi-turn prompts a step, in
float32 on all cores; the reward is a rule. TRL runs in a process of its own with its defaults, but without gradient
checkpointing (which would also switch its key and value cache off) and in float32. The two take turns, `--rounds` times
with `--steps` steps after `--warm`; prints seconds and processor seconds a step of each, and their ratios by round.
Neither overlaps generation with learning.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.dpo_material import Messages, Watch, policy, prompts, run_settings
from tests.rl.tiny import ShareOfE

LR, BETA = 1e-5, 0.1


def main() -> None:
    given = arguments()
    if given.trl is not None:
        print("RESULT " + json.dumps(trl_run(given, json.loads(Path(given.trl).read_text()))))
        return
    root = Path(given.output)
    root.mkdir(parents=True, exist_ok=True)
    policy_path = policy(root, given.shape, given.prompt_tokens + given.tokens)
    items = prompts(policy_path, given.prompts * (given.warm + given.steps), given.prompt_tokens)
    print(json.dumps(context(given, policy_path)), flush=True)
    from wildreward.cluster import cluster

    rounds: list[dict[str, dict[str, float]]] = []
    with cluster("local"):
        for number in range(given.rounds):
            ways = {"wildreward": ours, "trl": trl}
            order = list(ways) if number % 2 == 0 else list(ways)[::-1]
            found = {name: ways[name](given, root / f"round_{time.time_ns()}", policy_path, items) for name in order}
            rounds.append(found)
            print(json.dumps({"round": number, **found, **ratios(found)}), flush=True)
    for name in ("wall_ratio", "processor_ratio"):
        values = [ratios(found)[name] for found in rounds]
        print(f"{name}: TRL / wildreward, median {statistics.median(values):.2f} of {values}")


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    trl_s, ours_s = found["trl"], found["wildreward"]
    return {f"{name}_ratio": round(trl_s[f"{name}_s"] / ours_s[f"{name}_s"], 3) for name in ("wall", "processor")}


def context(given: argparse.Namespace, policy_path: Path) -> dict[str, Any]:
    import torch
    import trl
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(policy_path)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": "float32",
        "threads": os.cpu_count(),
        "prompts_per_step": given.prompts,
        "completions_per_prompt": 2,
        "new_tokens": given.tokens,
        "prompt_tokens_at_most": given.prompt_tokens,
        "steps": given.steps,
        "torch": torch.__version__,
        "trl": trl.__version__,
    }


def ours(given: argparse.Namespace, directory: Path, policy_path: Path, items: list[Messages]) -> dict[str, float]:
    from rl.program import improve

    settings = run_settings(
        directory,
        policy_path,
        items,
        steps=given.warm + given.steps,
        prompts_per_step=given.prompts,
        completions_per_prompt=2,
        max_new_tokens=given.tokens,
        max_prompt_tokens=given.prompt_tokens,
        rollout_batch_prompts=given.prompts,
        staleness=0,
        lr=LR,
        beta=BETA,
    )
    with Watch(Path(settings.output, "metrics.jsonl")) as watch:
        improve(settings, ShareOfE)
    wall, processor = watch.per_step(given.warm)
    rows = [json.loads(line) for line in Path(settings.output, "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "seconds/step" in row][given.warm :]
    parts = {name: statistics.fmean(row[name] for row in rows) for name in rows[0] if name.startswith("seconds/")}
    tokens = statistics.fmean(row["completion/tokens"] for row in rows)
    return {"wall_s": wall, "processor_s": processor, "completion_tokens": tokens} | parts


def trl(given: argparse.Namespace, directory: Path, policy_path: Path, items: list[Messages]) -> dict[str, float]:
    """In a process of its own, so that neither leaves anything behind for the other."""
    directory.mkdir(parents=True, exist_ok=True)
    asked = directory / "asked.json"
    asked.write_text(json.dumps({"policy": str(policy_path), "items": items, "output": str(directory / "trl")}))
    command = [sys.executable, "-m", "tests.benchmarks.dpo_against_trl", *sys.argv[1:], "--trl", str(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"TRL's run failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def trl_run(given: argparse.Namespace, asked: dict[str, Any]) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    torch.set_num_threads(os.cpu_count() or 1)
    marks: list[tuple[float, float, float]] = []
    lengths: list[int] = []
    tokenizer = AutoTokenizer.from_pretrained(asked["policy"])

    model: Any = AutoModelForCausalLM.from_pretrained(asked["policy"], dtype=torch.float32)
    generating = Stopwatch(model.generate)
    model.generate = generating

    class Marks(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.perf_counter(), time.process_time(), generating.seconds))

    config = OnlineDPOConfig(
        output_dir=asked["output"],
        per_device_train_batch_size=given.prompts,
        gradient_accumulation_steps=1,
        max_steps=given.warm + given.steps,
        max_new_tokens=given.tokens,
        max_length=given.prompt_tokens + given.tokens,
        temperature=1.0,
        learning_rate=LR,
        lr_scheduler_type="constant",
        beta=BETA,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = OnlineDPOTrainer(
        model=model,
        reward_funcs=reward_function(lengths, tokenizer.eos_token_id),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": item} for item in asked["items"]]),
        processing_class=tokenizer,
        callbacks=[Marks()],
    )
    trainer.train()
    wall, processor, generate = ((b - a) / given.steps for a, b in zip(marks[given.warm - 1], marks[-1], strict=True))
    return {
        "wall_s": wall,
        "processor_s": processor,
        "seconds/generate": generate,
        "completion_tokens": statistics.fmean(lengths),
    }


class Stopwatch:
    """A function, and how long its calls took."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner, self.seconds = inner, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = self.inner(*args, **kwargs)
        self.seconds += time.perf_counter() - started
        return result


def reward_function(lengths: list[int], end: int) -> Callable[..., list[float]]:
    """Our rule as TRL asks for it; notes the lengths of what it is shown."""
    scorer = ShareOfE()

    def share_of_e(prompts: Any, completions: Any, completion_ids: Any, **_: Any) -> list[float]:
        lengths.extend(ids.index(end) + 1 if end in ids else len(ids) for ids in completion_ids)
        talks = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
        return [
            item.score if talk[-1]["content"] else 1.0 for item, talk in zip(scorer.score(talks), talks, strict=True)
        ]

    return share_of_e


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--shape", default="14m")
    parser.add_argument("--prompts", type=int, default=8, help="prompts a step")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of a completion, at most")
    parser.add_argument("--prompt-tokens", type=int, default=128, help="prompts are no longer")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trl", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
