"""What the driver keeps of weights: which version rollouts and reference are of, in a checkpoint and after it."""

from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from rl.learner import TrainPair
from rl.roles import Roles, WeightsAt
from rl.rollout import Timed
from rl.weights import Weights, array, tensors
from tests.rl.learners import CHOSEN, REJECTED
from wildreward.errors import CheckpointError
from wildreward.settings.dpo import DpoSettings


@pytest.fixture(autouse=True)
def no_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets stand for themselves: nothing here needs a cluster."""
    monkeypatch.setattr(ray, "put", lambda bucket: bucket)


PAIRS = [TrainPair(CHOSEN[0], REJECTED[0], 0.0, 0.0)]


class Counting:
    """A learner whose only weight is the number of steps it made."""

    def __init__(self) -> None:
        self.steps = 0

    def call(self, method: str, *args: Any) -> Any:
        if method == "step":
            self.steps += bool(args[0])
            return Timed({}, 0.0, 0)
        if method == "weights":
            return Weights(("weight",), [ray.put({"weight": array(torch.tensor([self.steps]), torch.float32)})])
        return None


def roles_of(**settings: Any) -> Roles:
    """Without actors."""
    roles = object.__new__(Roles)
    roles.settings = DpoSettings(**settings)
    roles.current = roles.reference = WeightsAt()
    roles.learner = Counting()  # type: ignore[assignment] # as much of a learner as this needs
    return roles


def weight(at: WeightsAt) -> tuple[int, float]:
    assert at.weights is not None
    return at.version, dict(tensors(at.weights))["weight"].item()


def test_the_reference_follows_every_second_version_and_is_found_again_in_a_checkpoint(tmp_path: Path) -> None:
    roles = roles_of(reference_refresh_steps=2)
    roles.learn(PAIRS, [])
    assert roles.reference == WeightsAt()
    roles.learn([], [])  # no pairs, no new version
    seen = []
    for _ in range(4):
        roles.learn(PAIRS, [])
        seen.append(weight(roles.reference))
    assert seen == [(2, 2), (2, 2), (4, 4), (4, 4)]
    roles.save(str(tmp_path))
    behind = WeightsAt(4, roles.reference.weights)
    roles.save_behind(str(tmp_path), behind)
    again = roles_of(reference_refresh_steps=2)
    again.learner = roles.learner
    again.load(str(tmp_path), 5)
    assert (weight(again.current), weight(again.reference)) == ((5, 5), (4, 4))
    assert weight(again.load_behind(str(tmp_path), 4)) == (4, 4)


def test_a_checkpoint_without_the_reference_it_must_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="reference: cannot be read"):
        roles_of(reference_refresh_steps=2).load(str(tmp_path), 3)


def test_without_refreshes_the_start_stays_the_reference(tmp_path: Path) -> None:
    roles = roles_of()
    for _ in range(3):
        roles.learn(PAIRS, [])
    roles.save(str(tmp_path))
    assert roles.reference == WeightsAt()
    assert list(tmp_path.iterdir()) == []
