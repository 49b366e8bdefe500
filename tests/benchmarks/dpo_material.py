"""What the benchmarks of online DPO share: random policies of a given size, prompts, a run's settings, and a watch that
reads clock and processor time at every step.
"""

import argparse
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for three benchmarks

from wildreward.demo import conversations
from wildreward.policies import new_policy
from wildreward.settings.demo import DemoSettings
from wildreward.settings.dpo import DpoSettings

Messages = list[dict[str, str]]

SHAPES = {
    "3m": {"hidden": 192, "layers": 4, "heads": 6, "vocabulary": 4096},
    "14m": {"hidden": 384, "layers": 6, "heads": 6, "vocabulary": 8192},
    "100m": {"hidden": 768, "layers": 12, "heads": 12, "vocabulary": 8192},
    "1b": {"hidden": 2048, "layers": 20, "heads": 16, "vocabulary": 8192},
}
"""Random Llamas by about how many parameters they have. The tokenizer is trained on generated conversations."""


def talks(count: int = 700) -> list[Messages]:
    return conversations(DemoSettings(conversations=count))


def policy(directory: Path, shape: str, max_tokens: int) -> Path:
    """A random policy of that shape with a chat template; reused where it is there."""
    path = directory / f"policy_{shape}_{max_tokens}"
    if not (path / "config.json").exists():
        new_policy(path, talks(), max_tokens=max_tokens, **SHAPES[shape])
    return path


def prompts(policy_path: Path, count: int, max_tokens: int) -> list[Messages]:
    """Distinct multi-turn prompts with no more than so many tokens of the policy."""
    from rl.models import load_tokenizer, prompt_ids

    tokenizer = load_tokenizer(str(policy_path))
    found: dict[str, Messages] = {}
    for talk in talks(max(700, 2 * count)):
        ends = [index for index, message in enumerate(talk) if message["role"] == "user"]
        messages = talk[: ends[-1] + 1] if ends else []
        if messages and len(prompt_ids(tokenizer, messages)) <= max_tokens:
            found.setdefault(json.dumps(messages), messages)
    if len(found) < count:
        raise SystemExit(f"{len(found)} prompts of at most {max_tokens} tokens; {count} are wanted")
    return list(found.values())[:count]


def write_prompts(path: Path, items: Sequence[Messages]) -> str:
    path.write_text("".join(json.dumps({"messages": item}) + "\n" for item in items), encoding="utf-8")
    return str(path)


def run_settings(directory: Path, policy_path: Path, items: Sequence[Messages], **given: Any) -> DpoSettings:
    """A run over these prompts, with two more held out, that writes nothing but its metrics until the end."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {
        "policy": str(policy_path),
        "checkpoint": "rule",
        "input": (write_prompts(directory / "prompts.jsonl", items),),
        "eval_input": (write_prompts(directory / "held_out.jsonl", [[{"role": "user", "content": x}] for x in "ab"]),),
        "output": str(directory / "run"),
        "eval_prompts": 2,
        "checkpoint_every_steps": 10_000,
        "sample_every_steps": 10_000,
    }
    return DpoSettings.model_validate(values | given)


def step_settings(root: Path, policy_path: Path, given: argparse.Namespace, **more: Any) -> DpoSettings:
    """A run of `given.warm + given.steps` steps in a new directory below `root`; see `size_arguments`."""
    return run_settings(
        root / f"run_{time.time_ns()}",
        policy_path,
        prompts(policy_path, given.prompts * (given.warm + given.steps), given.prompt_tokens),
        steps=given.warm + given.steps,
        prompts_per_step=given.prompts,
        completions_per_prompt=given.completions,
        max_new_tokens=given.tokens,
        max_prompt_tokens=given.prompt_tokens,
        rollout_batch_prompts=given.prompts,
        lr=1e-5,
        **more,
    )


def size_arguments(parser: argparse.ArgumentParser, steps: int, warm: int) -> None:
    """Where to write, and how large the policy and its steps are; `steps` and `warm` are the defaults."""
    parser.add_argument("--output", required=True)
    parser.add_argument("--shape", default="14m", choices=list(SHAPES))
    parser.add_argument("--prompts", type=int, default=8, help="prompts a step")
    parser.add_argument("--completions", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--warm", type=int, default=warm)


@dataclass
class Watch:
    """Clock and processor time, of this process and all below it (Ray's own included), at each line of a file."""

    path: Path
    marks: list[tuple[float, float]] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        seen = 0
        while not self._done.wait(0.01):
            lines = self.path.read_bytes().count(b"seconds/step") if self.path.exists() else 0
            if lines > seen:
                self.marks.append((time.perf_counter(), processor_seconds()))
                seen = lines

    def per_step(self, warm: int) -> tuple[float, float]:
        """(wall seconds, processor seconds) a step, from the end of step `warm` to the end of the last."""
        (start, busy), (end, busy_end) = self.marks[warm - 1], self.marks[-1]
        steps = len(self.marks) - warm
        return (end - start) / steps, (busy_end - busy) / steps


def processor_seconds() -> float:
    own = psutil.Process()
    total = 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        total += times.user + times.system
    return total
