"""What the learner writes into a checkpoint of the run, and reads to go on exactly.

policy/   the policy, as Hugging Face reads it (see rl.policy_engine.save_policy)
ds/       every worker's DeepSpeed shard: weights, optimiser, how many steps were made; frozen weights left out
"""

from typing import TYPE_CHECKING

from rl.checkpoints import POLICY, fetched, staged
from rl.policy_engine import save_policy
from wildreward import zero
from wildreward.errors import CheckpointError

if TYPE_CHECKING:
    from rl.learner import Learner


def save(learner: "Learner", directory: str) -> None:
    """Collective; `directory` is the same place for every worker."""
    with staged(directory) as path:
        save_policy(learner.engine, learner.tokenizer, learner.settings, path / POLICY)
        learner.engine.save_checkpoint(
            str(path),
            tag=zero.CHECKPOINT_TAG,
            client_state={"version": learner.version},
            exclude_frozen_parameters=bool(learner.settings.lora_rank),
        )


def load(learner: "Learner", directory: str) -> None:
    """Collective. Raises CheckpointError where there is nothing to load."""
    with fetched(directory) as path:
        if not (path / zero.CHECKPOINT_TAG).is_dir():
            raise CheckpointError(f"{directory}: no {zero.CHECKPOINT_TAG}/ in it; every worker must see the output")
        strict = not learner.settings.lora_rank  # without adapters nothing is frozen and everything is there
        _, client = learner.engine.load_checkpoint(str(path), tag=zero.CHECKPOINT_TAG, load_module_strict=strict)
    learner.version = client["version"]
