"""A DeepSpeed engine in this process, on a few rows that are the same everywhere: what tests of the engine need."""

from pathlib import Path
from typing import Any

import torch

from tests.ranks import run_rank
from train import engine as deepspeed_engine
from train.construction import build
from wildreward import zero
from wildreward.ordinal import hard_targets, row_losses
from wildreward.settings.train import TrainSettings

LABELS = torch.tensor([1, 2, 3, 4, 1, 4, 2, 3])
STEPS = 3


def start(settings: TrainSettings) -> tuple[Any, Any]:
    """(model, engine) as a worker makes them."""
    torch.manual_seed(settings.seed)
    model, _ = build(settings, LABELS)
    engine = deepspeed_engine.initialise(model, settings)
    zero.set_learning_rate(engine, settings.lr)
    return model, engine


def batch(rank: int = 0, world: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """This rank's rows of a batch of eight: token ids (B, T) and labels (B,)."""
    ids = torch.randint(1000, 2000, (len(LABELS), 12), generator=torch.Generator().manual_seed(1))
    return ids[rank::world], LABELS[rank::world]


def losses(model: Any, settings: TrainSettings, rank: int = 0, world: int = 1) -> torch.Tensor:
    """(B,) of this rank's rows."""
    ids, labels = batch(rank, world)
    targets_BK = hard_targets(labels, settings.num_classes)
    return row_losses(settings.head, model(ids, torch.ones_like(ids)), targets_BK)


def step(engine: Any, settings: TrainSettings, rank: int = 0, world: int = 1) -> float:
    """The gradient norm."""
    engine.train()
    engine.backward(losses(engine, settings, rank, world).sum() * world / len(LABELS), scale_wrt_gas=False)
    return zero.step(engine)


def train(settings: TrainSettings, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    """Weights after STEPS steps, on every rank."""
    _, engine = start(settings)
    for _ in range(STEPS):
        step(engine, settings, rank, world)
    return zero.full_state(engine, keep=True)


def main(rank: int, world: int, folder: Path) -> None:
    """Train with every settings_*.json of the folder, and write its weights beside it."""
    for path in sorted(folder.glob("settings_*.json")):
        state = train(TrainSettings.model_validate_json(path.read_text()), rank, world)
        if rank == 0:
            torch.save(state, path.with_suffix(".pt"))


if __name__ == "__main__":
    run_rank(main)
