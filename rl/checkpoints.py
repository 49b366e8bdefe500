"""The state of a run on disk: checkpoints that are there whole or not at all, and what the next start finds.

    <output>/checkpoints/step_000020/{policy/, ds/, reference/, state.json}   see rl.learner_checkpoint

All randomness is a pure function of (seed, step), so the step is also the position in the prompts and the random state.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wildreward.errors import CheckpointError
from wildreward.storage import write_text

Rewards = list[list[float | None]]


@dataclass
class State:
    """What a run knows after `step` steps, beside the weights and the optimiser."""

    step: int = 0
    version: int = 0
    pairs: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    evaluations: dict[int, Rewards] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> str:
        return json.dumps(vars(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "State":
        values = json.loads(text)
        values["skipped"] = Counter(values["skipped"])
        values["evaluations"] = {int(step): rewards for step, rewards in values["evaluations"].items()}
        return cls(**values)


class Checkpoints:
    """The checkpoints under one output directory (a file system that the driver and the learner share)."""

    def __init__(self, output: Path, keep: int) -> None:
        self.directory, self.keep = output / "checkpoints", keep

    def write(self, state: State, save: Callable[[str], None]) -> Path:
        """`save` writes the learner's part. The directory gets its name when everything is in it."""
        final = self.directory / f"step_{state.step:06d}"
        temporary = self.directory / f".{final.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save(str(temporary))
        write_text(str(temporary / "state.json"), state.to_json())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in self._all()[: -self.keep]:
            shutil.rmtree(old)
        return final

    def latest(self) -> tuple[Path, State] | None:
        """Raises CheckpointError when the newest cannot be read."""
        found = self._all()
        if not found:
            return None
        try:
            return found[-1], State.from_json((found[-1] / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{found[-1]}: not a readable checkpoint: {error}") from error

    def _all(self) -> list[Path]:
        return sorted(self.directory.glob("step_*"))


def publish_policy(checkpoint: Path, output: Path) -> Path:
    """Copy the checkpoint's policy to <output>/policy, replacing an earlier one."""
    final, temporary, old = output / "policy", output / ".policy.tmp", output / ".policy.old"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(checkpoint / "policy", temporary)
    if final.exists():
        os.replace(final, old)
    os.replace(temporary, final)
    shutil.rmtree(old, ignore_errors=True)
    return final
