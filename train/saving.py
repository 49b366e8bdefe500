"""What a checkpoint of the run holds, and what happens when it cannot be written.

ds/    every rank's DeepSpeed shard: weights, optimiser, where the run is. Of a LoRA run without the frozen weights.
hf/    on rank 0: the model as it is published, or, of a LoRA run, its adapter and head alone.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.checkpoint_list import keep_list
from wildreward import lora, zero
from wildreward.errors import CheckpointError
from wildreward.reward_model import save_checkpoint

if TYPE_CHECKING:
    from train.worker import Loop

HF_FOLDER = "hf"


def save_rank(loop: "Loop", directory: Path, cutpoints: list[float] | None, report: Mapping[str, Any]) -> None:
    """Write this rank's part into `directory` and hand it to Ray Train with the metrics. Collective.

    Raises TrainingError for weights that are not numbers, CheckpointError when there is no room.
    """
    import ray.train

    lora_run = bool(loop.settings.lora_rank)
    state = zero.full_state(loop.engine, keep=loop.rank == 0, trained_only=lora_run)
    with writing(f"the checkpoint of step {loop.state.step}", tempfile.gettempdir()):
        loop.engine.save_checkpoint(
            str(directory),
            tag=zero.CHECKPOINT_TAG,
            client_state={"state": asdict(loop.state)},
            exclude_frozen_parameters=lora_run,
        )
        if loop.rank == 0:
            _save_model(loop, directory / HF_FOLDER, state, cutpoints)
            keep_list(loop.job.run_path)
        checkpoint = ray.train.Checkpoint.from_directory(directory)
        ray.train.report(dict(report), checkpoint=checkpoint, checkpoint_dir_name=f"ckpt_{loop.state.step:06d}")


def _save_model(loop: "Loop", directory: Path, state: dict[str, Any], cutpoints: list[float] | None) -> None:
    if loop.settings.lora_rank:
        lora.save_adapter(directory, loop.model, state, cutpoints, lora.adapter_config(loop.settings))
    else:
        save_checkpoint(directory, loop.model, loop.tokenizer, loop.job.template, state, cutpoints=cutpoints)


@contextmanager
def writing(what: str, directory: str | Path) -> Iterator[None]:
    """Raises CheckpointError naming `what` when it cannot be written into the local `directory`.

    A disk that is full shows as an error of whoever wrote: the system, torch or safetensors.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        free = shutil.disk_usage(directory).free
        raise CheckpointError(
            f"{what} could not be written: {error}. Earlier checkpoints are as they were; the same command continues "
            f"from the last. Free under {directory}: {free / 2**20:,.0f} MiB"
        ) from error
