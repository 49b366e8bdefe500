"""What the learner writes into a checkpoint of the run, and reads to go on exactly.

policy/      the policy, as Hugging Face reads it (see rl.policy_engine.save_policy)
ds/          every worker's DeepSpeed shard: weights, optimiser, how many steps were made; frozen weights left out
reference/   the reference, once it is no longer the starting policy
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rl import weights
from rl.policy_engine import save_policy
from rl.weights import Put, Weights
from wildreward import zero
from wildreward.errors import CheckpointError

if TYPE_CHECKING:
    from rl.learner import Learner

REFERENCE_FOLDER = "reference"


def save(learner: "Learner", directory: str, reference: Weights | None) -> None:
    """Collective; `directory` is the same place for every worker."""
    save_policy(learner.engine, learner.tokenizer, learner.settings, Path(directory) / "policy")
    learner.engine.save_checkpoint(
        directory,
        tag=zero.CHECKPOINT_TAG,
        client_state={"version": learner.version},
        exclude_frozen_parameters=bool(learner.settings.lora_rank),
    )
    if reference is not None and learner.rank == 0:
        weights.write(reference, Path(directory) / REFERENCE_FOLDER)


def load(learner: "Learner", directory: str, put: Put) -> Weights | None:
    """Collective. Rank 0 returns the reference where it is not the starting policy. Raises CheckpointError."""
    if not (Path(directory) / zero.CHECKPOINT_TAG).is_dir():
        raise CheckpointError(f"{directory}: no {zero.CHECKPOINT_TAG}/ in it; all workers must see the run's output")
    strict = not learner.settings.lora_rank  # without adapters nothing is frozen and everything is there
    _, client = learner.engine.load_checkpoint(directory, tag=zero.CHECKPOINT_TAG, load_module_strict=strict)
    learner.version = client["version"]
    kept = Path(directory) / REFERENCE_FOLDER
    return weights.read(kept, put) if learner.rank == 0 and kept.is_dir() else None
