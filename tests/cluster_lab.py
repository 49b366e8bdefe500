"""What the drills on a simulated cluster work with: small inputs for every stage, and the command of each as a job."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.checkpoints import tiny_backbone, tiny_checkpoint
from tests.ray_jobs import JobCluster, bare_checkout, finished
from tests.rl.tiny import prompts_file, tiny_policy
from wildreward.synthetic.generate import write

TRAIN: dict[str, Any] = {
    "max_tokens": 128, "batch_rows": 16, "lr": 1e-3, "zero_stage": 0, "threads": 1, "device": "cpu",
    "log_every_steps": 1,
}  # fmt: skip
DPO: dict[str, Any] = {
    "steps": 3, "prompts_per_step": 4, "completions_per_prompt": 4, "max_new_tokens": 8, "max_prompt_tokens": 64,
    "rollout_batch_prompts": 2, "eval_prompts": 4, "checkpoint_every_steps": 1, "lr": 1e-3, "threads": 1,
}  # fmt: skip
MODULES = {
    "label": "pipelines.label", "train": "train", "tune": "tune", "calibrate": "pipelines.calibrate",
    "evaluate": "pipelines.evaluate", "compare": "pipelines.compare", "score": "pipelines.score", "serve": "serve",
    "dpo": "rl",
}  # fmt: skip
"""Stage to the module that runs it from a bare checkout."""

AT_HOME = (
    ".git/objects/pack", ".venv/lib/big", "runs/label/rows", "data/chats.jsonl", "wandb/run", "model.safetensors",
)  # fmt: skip
"""Files of a used checkout that no job may get."""


@dataclass
class Lab:
    """Inputs and outputs in one folder, which all nodes see, as they are all this machine."""

    cluster: JobCluster
    folder: Path

    @cached_property
    def data(self) -> Path:
        """Generated conversations, with the true levels beside them."""
        write(str(self.folder / "data"), seed=0, conversations=400, shards=2)
        return self.folder / "data"

    @cached_property
    def backbone(self) -> Path:
        return tiny_backbone(self.folder / "backbone")

    @cached_property
    def reward_model(self) -> Path:
        return tiny_checkpoint(self.folder / "reward")

    @cached_property
    def policy(self) -> Path:
        return tiny_policy(self.folder / "policy", steps=5)

    @cached_property
    def prompts(self) -> Path:
        return prompts_file(self.folder)

    def out(self, name: str) -> Path:
        return self.folder / "out" / name

    def config(self, name: str, **values: Any) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"output": str(self.out(name))} | values))
        return path

    def training(self, name: str, rows: Path, **values: Any) -> Path:
        return self.config(name, input=[str(rows)], backbone=str(self.backbone), **(TRAIN | values))

    def improving(self, name: str, **values: Any) -> Path:
        given = {"policy": str(self.policy), "checkpoint": str(self.reward_model), "input": [str(self.prompts)]}
        return self.config(name, **(given | DPO | values))

    def submit(self, stage: str, *arguments: Any, job: str) -> Any:
        """`python -m MODULE ...` as a job."""
        return self.cluster.submit("python", "-m", MODULES[stage], *arguments, job=job)

    def run(self, stage: str, config: Path, says: str = "", job: str | None = None) -> str:
        """A stage as a job that succeeds; its log."""
        return finished(self.submit(stage, "--config", config, job=job or config.stem), says)

    def labelled(self) -> Path:
        """The output of a label job."""
        self.run("label", self.config("label", input=[str(self.data / "conversations")], hindsight_window_turns=0))
        return self.out("label")

    def pipeline(self, name: str, steps: int = 6, **values: Any) -> Path:
        """label, train and evaluate as one run."""
        train = {"backbone": str(self.backbone), "max_steps": steps, "evaluate_every_steps": 2} | TRAIN
        label = {"test_rows": 20, "hindsight_window_turns": 0}
        stages = {"label": label, "train": train, "evaluate": {"bootstrap": 50}}
        return self.config(name, **({"input": [str(self.data / "conversations")], "stages": stages} | values))


@contextlib.contextmanager
def lab(*workers_cpus: float, environment: Mapping[str, str] | None = None) -> Iterator[Lab]:
    """A cluster of a head and workers of so many CPUs, and a bare checkout that jobs are submitted from."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkout = bare_checkout(folder / "checkout", AT_HOME)
        (folder / "lab").mkdir()
        with JobCluster(folder / "ray", workers_cpus, environment or {}, checkout) as cluster:
            yield Lab(cluster, folder / "lab")


def report(drill: str, **found: Any) -> None:
    """A line of JSON."""
    print(json.dumps({"drill": drill, **found}), flush=True)
