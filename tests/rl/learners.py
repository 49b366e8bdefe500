"""A learner in this process, on pairs that are the same everywhere; as a module, one of several ranks.

A rank trains with every settings_*.json of the folder and writes what came of it beside (`Outcome`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rl.learner import Learner, Monitored, TrainPair
from rl.weights import Weights, tensors
from tests.ranks import run_rank
from wildreward import zero
from wildreward.dpo import PolicySequence
from wildreward.errors import TrainingError
from wildreward.settings.dpo import DpoSettings

CHOSEN = [PolicySequence([1, 20, 21], [30, 31, 2]), PolicySequence([1, 22], [32, 2]), PolicySequence([1, 9], [3, 4, 2])]
REJECTED = [
    PolicySequence([1, 20, 21], [40, 2]),
    PolicySequence([1, 22], [41, 42, 43, 2]),
    PolicySequence([1, 9], [8, 2]),
]
STEPS = 3


@dataclass(frozen=True)
class Outcome:
    """Of three steps: metrics of each, the weights as engines load them, and what a NaN in one pair did."""

    metrics: list[dict[str, float]]
    reference: list[float]
    weights: dict[str, torch.Tensor]
    refused: str
    unchanged: bool


def learner_of(settings: DpoSettings, rank: int = 0, world: int = 1) -> Learner:
    learner = Learner(settings)
    learner.start(rank, world)
    return learner


def pairs(learner: Learner) -> list[TrainPair]:
    """With the log-probabilities of now as the reference."""
    logps = learner._logps([*CHOSEN, *REJECTED])
    count = len(CHOSEN)
    return [TrainPair(CHOSEN[i], REJECTED[i], logps[i], logps[count + i]) for i in range(count)]


def monitored(batch: Sequence[TrainPair]) -> list[Monitored]:
    return [Monitored(pair.chosen, pair.reference_chosen) for pair in batch]


def broken(pair: TrainPair, value: float = float("nan")) -> TrainPair:
    return TrainPair(pair.chosen, pair.rejected, value, value)


def state(learner: Learner) -> dict[str, torch.Tensor]:
    return zero.full_state(learner.engine, keep=True)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def published(learner: Learner) -> Weights:
    found = learner.weights(put=lambda bucket: bucket)
    assert found is not None
    return found


def outcome(settings: DpoSettings, rank: int = 0, world: int = 1) -> Outcome:
    learner = learner_of(settings, rank, world)
    batch = pairs(learner)
    metrics = [learner.step(batch, monitored(batch)).value for _ in range(STEPS)]
    reference: list[float] = []
    if settings.lora_rank:
        reference = learner.reference_logps([*CHOSEN, *REJECTED], None).value
    weights: Any = learner.weights(put=lambda bucket: bucket)
    before, refused = state(learner), ""
    try:
        learner.step([*batch[:-1], broken(batch[-1])], [])
    except TrainingError as error:
        refused = str(error)
    found = {name: tensor.clone() for name, tensor in tensors(weights)} if weights else {}
    return Outcome(metrics, reference, found, refused, same(before, state(learner)))


def main(rank: int, world: int, folder: Path) -> None:
    for path in sorted(folder.glob("settings_*.json")):
        found = outcome(DpoSettings.model_validate_json(path.read_text()), rank, world)
        torch.save(vars(found), path.with_suffix(f".{rank}.pt"))


if __name__ == "__main__":
    run_rank(main)
