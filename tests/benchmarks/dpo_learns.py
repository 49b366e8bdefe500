"""Does online DPO raise the held-out reward, and does it not when the rewards are shuffled? Three seeds of each.

    python -m tests.benchmarks.dpo_learns --output runs/dpo_learns --reward rule
    python -m tests.benchmarks.dpo_learns --output runs/dpo_learns --reward model

A Llama of 1M parameters, warm-started on generated conversations, writes replies to generated prompts; the reward is a
rule (share of the letter e), or a model trained by `wildreward train` on the labelled generated conversations. Shuffled
rewards are the same ones, dealt anew among the completions of each prompt by a scorer around the scorer: their mean
over a prompt, and so every evaluation, stays what it was. The same command continues where it was stopped, and options
it does not know are settings of the run (`--steps 40`).

Prints a line a run, and exits 1 unless the reward rose in every run, with a 95 percent interval over held-out prompts
above zero, by more than it moved in any shuffled run.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.program import improve
from rl.scorer import ScorerFactory, reward_model_factory
from tests.benchmarks.dpo_material import Messages, talks, write_prompts
from tests.rl.tiny import ShareOfE
from wildreward.cli import STAGES, read_settings, run_stage
from wildreward.cluster import cluster
from wildreward.policies import new_policy, warm_start
from wildreward.reward_model import Score
from wildreward.settings.dpo import DpoSettings

CONVERSATIONS = 700
WARM_STEPS = 300
RUN = {
    "--prompts-per-step": 24,
    "--completions-per-prompt": 6,
    "--max-prompt-tokens": 128,
    "--max-new-tokens": 32,
    "--rollout-batch-prompts": 24,
    "--steps": 30,
    "--staleness": 0,
    "--lr": "6e-4",
    "--beta": "0.05",
    "--eval-prompts": 128,
    "--eval-completions": 2,
    "--checkpoint-every-steps": 15,
    "--sample-every-steps": 10,
}


class Shuffled:
    """A scorer that gives every completion the score of a random one of the same prompt: it says nothing of any."""

    def __init__(self, make: ScorerFactory, seed: int) -> None:
        self.make, self.seed = make, seed
        self.inner: Any = None

    def __call__(self) -> "Shuffled":
        self.inner = self.make()
        return self

    def score(self, conversations: Sequence[Sequence[Any]], *rest: Any) -> list[Score]:
        scores = list(self.inner.score(conversations, *rest))
        of_prompt: dict[str, list[int]] = {}
        for index, messages in enumerate(conversations):
            of_prompt.setdefault(json.dumps(messages[:-1]), []).append(index)
        for prompt, indices in of_prompt.items():
            replies = [conversations[index][-1]["content"] for index in indices]
            dealt = random.Random(json.dumps([self.seed, prompt, replies])).sample(indices, len(indices))
            kept = [scores[index] for index in dealt]
            for index, score in zip(indices, kept, strict=True):
                scores[index] = score
        return scores


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--reward", required=True, choices=["rule", "model"])
    parser.add_argument("--seeds", type=int, default=3)
    given, rest = parser.parse_known_args(argv)
    root = Path(given.output)
    with cluster("local"):
        policy, prompts = warm_policy(root), write_prompts(root / "prompts.jsonl", talks(CONVERSATIONS))
        factory: ScorerFactory = ShareOfE if given.reward == "rule" else trained(root)
        results: dict[str, list[dict[str, Any]]] = {"reward": [], "shuffled": []}
        for seed in range(given.seeds):
            for kind, found in results.items():
                output = root / f"{given.reward}_{kind}_{seed}"
                scorer = factory if kind == "reward" else Shuffled(factory, seed)
                summary = improve(settings(policy, prompts, output, [*rest, "--seed", str(seed)]), scorer)
                found.append(summary["reward"])
                line = {name: summary["reward"][name] for name in ("before", "after", "difference")}
                print(json.dumps({"kind": kind, "seed": seed, **line, "step_seconds": summary["step_seconds"]}))
    verdict(given.reward, results)


def verdict(reward: str, results: dict[str, list[dict[str, Any]]]) -> None:
    rises = {kind: [run["difference"]["mean"] for run in found] for kind, found in results.items()}
    for kind, values in rises.items():
        print(f"{reward}, {kind}: mean difference {sum(values) / len(values):+.3f} of {[round(v, 3) for v in values]}")
    surely = all(run["difference"]["low"] > 0 for run in results["reward"])
    if not surely or min(rises["reward"]) <= max(map(abs, rises["shuffled"])):
        raise SystemExit(f"{reward}: the reward did not rise in every run by more than it moves without a signal")


def settings(policy: Path, prompts: str, output: Path, rest: Sequence[str]) -> DpoSettings:
    arguments = [text for pair in RUN.items() for text in map(str, pair)]
    arguments += ["--policy", str(policy), "--checkpoint", output.name, "--input", prompts, "--output", str(output)]
    read = read_settings(STAGES["dpo"], [*arguments, *rest])
    assert isinstance(read, DpoSettings)
    return read


def warm_policy(root: Path) -> Path:
    """Made once: a policy that writes replies of all qualities."""
    directory, done = root / "policy", root / "policy" / "warm_start.json"
    if not done.exists():
        read: list[Messages] = talks(CONVERSATIONS)
        new_policy(directory, read, vocabulary=2048, hidden=128, layers=3, heads=4, max_tokens=192)
        loss = warm_start(directory, read, WARM_STEPS)
        done.write_text(json.dumps({"loss": loss}))
        print(f"policy warm-started: loss {loss:.2f}", flush=True)
    return directory


def trained(root: Path) -> ScorerFactory:
    """A reward model by the demo's commands: generate, label, train. The same commands again find their work done."""
    from wildreward.synthetic.generate import write

    data = root / "data"
    if not (data / "truth.parquet").exists():
        write(data, 0, CONVERSATIONS)
    run_stage("label", ["--input", str(data / "conversations"), "--output", str(root / "label"), "--test-rows", "80"])
    run_stage("train", ["--config", "demo", "--input", str(root / "label"), "--output", str(root / "train")])
    return reward_model_factory(str(root / "train" / "checkpoint"), "cpu", "float32", None, False)


if __name__ == "__main__":
    main()
