"""The state of a run in its output (local, s3://, any fsspec URL): checkpoints that are there whole or not at all.

    <output>/checkpoints/step_000020/{policy/, ds/, reference/, behind/, state.json}

policy/ and ds/ are the learner's (rl/learner_checkpoint.py), reference/ and behind/ weights as they travel.

All randomness is a pure function of (seed, step), so the step is also the position in the prompts and the random state.
Locally a checkpoint gets its name when it is complete; in an object store, which has no renames, when it has its
state.json. Each process writes its own files, with `staged`.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wildreward import storage
from wildreward.errors import CheckpointError
from wildreward.improvement import Rewards

STATE = "state.json"
POLICY = "policy"


@dataclass
class State:
    """What a run knows after `step` steps, beside the weights and the optimiser."""

    step: int = 0
    version: int = 0
    behind: int = 0
    """Version of the weights that the next step's rollouts are written with: with staleness 1 the one before."""
    pairs: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    completions: Counter[str] = field(default_factory=Counter)
    start: dict[str, Rewards] = field(default_factory=dict)
    """Rewards of the starting policy on the held-out prompts, by scorer."""
    evaluations: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Step -> scorer -> improvement over the start."""
    best: int | None = None
    """The step with the best evaluation so far; its checkpoint is kept."""
    seconds: float = 0.0
    prompts: str = ""
    scorers: str = ""
    """What prompts and scorers the run began with."""

    def to_json(self) -> str:
        return json.dumps(vars(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "State":
        values = json.loads(text)
        for name in ("skipped", "completions"):
            values[name] = Counter(values[name])
        values["evaluations"] = {int(step): found for step, found in values["evaluations"].items()}
        return cls(**values)


class Checkpoints:
    """The checkpoints under one output."""

    def __init__(self, output: str, keep: int) -> None:
        self.directory, self.keep = storage.join(output, "checkpoints"), keep

    def write(self, state: State, save: Callable[[str], None]) -> str:
        """`save` writes the roles' part into a directory. Of older checkpoints the newest are kept, and the best."""
        final = self.place(state.step)
        with _whole(final) as directory:
            save(directory)
            _check_policy(directory)
            storage.write_text(storage.join(directory, STATE), state.to_json())
        best = None if state.best is None else self.place(state.best)
        for old in self._all()[: -self.keep]:
            if old != best:
                storage.remove(old)
        return final

    def latest(self) -> tuple[str, State] | None:
        """Raises CheckpointError when the newest cannot be read."""
        found = self._all()
        if not found:
            return None
        try:
            return found[-1], State.from_json(storage.read_text(storage.join(found[-1], STATE)))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{found[-1]}: not a readable checkpoint: {error}") from error

    def place(self, step: int) -> str:
        return storage.join(self.directory, f"step_{step:06d}")

    def _all(self) -> list[str]:
        named = storage.children(storage.refreshed(self.directory))
        steps = [path for path in named if path.rsplit("/", 1)[-1].startswith("step_")]
        return sorted(path for path in steps if storage.exists(storage.join(path, STATE)))


@contextmanager
def _whole(final: str) -> Iterator[str]:
    """Where to write a directory that is to be `final` when the block ends without an error."""
    if not storage.is_local(final):
        storage.remove(final)
        yield final
        return
    folder, name = final.rsplit("/", 1)
    temporary = f"{folder}/.{name}.tmp"
    storage.remove(temporary)
    Path(storage.plain(temporary)).mkdir(parents=True)
    yield temporary
    storage.remove(final)
    os.replace(storage.plain(temporary), storage.plain(final))


def _check_policy(directory: str) -> None:
    policy = storage.join(directory, POLICY)
    if not storage.exists(storage.refreshed(policy)):
        raise CheckpointError(
            f"{policy}: the learner wrote it on its node, and this process does not see it; --output must be a URL "
            "such as s3://..., or a directory that all nodes share"
        )


@contextmanager
def staged(directory: str) -> Iterator[Path]:
    """A local directory to write into. Where `directory` is a URL its files are uploaded when the block ends."""
    if storage.is_local(directory):
        path = Path(storage.plain(directory))
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="wildreward-checkpoint-") as made:
        yield Path(made)
        storage.copy_directory(made, directory)


@contextmanager
def fetched(directory: str) -> Iterator[Path]:
    """The directory to read from; of a URL a local copy, for as long as the block lasts."""
    if storage.is_local(directory):
        yield Path(storage.plain(directory))
        return
    with tempfile.TemporaryDirectory(prefix="wildreward-checkpoint-") as made:
        storage.copy_directory(directory, made)
        yield Path(made)


def publish_policy(checkpoint: str, output: str, name: str = POLICY) -> str:
    """Copy the checkpoint's policy to <output>/`name`, replacing an earlier one; where it is."""
    source, final = storage.join(checkpoint, POLICY), storage.join(output, name)
    if not storage.is_local(final):
        storage.remove(final)
        storage.copy_directory(source, final)
        return final
    temporary, old = Path(storage.plain(output), f".{name}.tmp"), Path(storage.plain(output), f".{name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(storage.plain(source), temporary)
    if Path(storage.plain(final)).exists():
        os.replace(storage.plain(final), old)
    os.replace(temporary, storage.plain(final))
    shutil.rmtree(old, ignore_errors=True)
    return final
