"""The learner: one step does what DPO says, in any micro-batching, and a NaN never reaches the weights."""

from pathlib import Path

import pytest
import torch

from rl.learner import Learner, Monitored, TrainingError, TrainPair
from tests.rl.tiny import settings
from wildreward.dpo import PolicySequence, sequence_logps
from wildreward.settings.dpo import DpoSettings

CHOSEN = [PolicySequence([1, 20, 21], [30, 31, 2]), PolicySequence([1, 22], [32, 2])]
REJECTED = [PolicySequence([1, 20, 21], [40, 2]), PolicySequence([1, 22], [41, 42, 43, 2])]


@pytest.fixture
def given(start: Path, tmp_path: Path) -> DpoSettings:
    return settings(tmp_path, policy=str(start))


def pairs(learner: Learner) -> list[TrainPair]:
    with torch.inference_mode():
        logps = sequence_logps(learner._model, CHOSEN + REJECTED, 0, 4096)
    return [TrainPair(CHOSEN[i], REJECTED[i], logps[i], logps[2 + i]) for i in range(2)]


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner._model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_step_raises_the_chosen_over_the_rejected(given: DpoSettings) -> None:
    learner = Learner(given)
    batch = pairs(learner)
    first = learner.step(batch, []).value
    second = learner.step(batch, []).value
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert second["loss"] < first["loss"]
    assert second["implicit/margin"] > first["implicit/margin"]
    assert learner.version == 2


def test_gradients_accumulated_over_micro_batches_equal_one_batch(given: DpoSettings) -> None:
    whole, parts = Learner(given), Learner(given.model_copy(update={"micro_batch_tokens": 1}))
    one, other = whole.step(pairs(whole), []).value, parts.step(pairs(parts), []).value
    assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
    for name, tensor in weights(whole).items():
        assert torch.allclose(tensor, weights(parts)[name], atol=1e-5)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_loss_that_is_not_a_number_never_reaches_the_weights(given: DpoSettings, broken: float) -> None:
    learner = Learner(given)
    batch = pairs(learner)
    before = weights(learner)
    bad = TrainPair(CHOSEN[0], REJECTED[0], broken, broken)
    with pytest.raises(TrainingError, match="step 1 is"):
        learner.step([batch[1], bad], [])
    assert same(weights(learner), before)
    assert learner.version == 0


def test_without_pairs_nothing_changes(given: DpoSettings) -> None:
    learner = Learner(given)
    before = weights(learner)
    assert learner.step([], []).value == {}
    assert same(weights(learner), before)


def test_kl_is_zero_before_the_first_step_and_entropy_positive(given: DpoSettings) -> None:
    learner = Learner(given)
    monitored = [Monitored(pair.chosen, pair.reference_chosen) for pair in pairs(learner)]
    measured = learner.step([], monitored).value
    assert measured["kl"] == pytest.approx(0, abs=1e-4)
    assert measured["entropy"] > 0


def test_saved_and_loaded_it_goes_on_as_if_nothing_happened(given: DpoSettings, tmp_path: Path) -> None:
    learner, resumed = Learner(given), Learner(given)
    batch = pairs(learner)
    learner.step(batch, [])
    learner.save(str(tmp_path / "saved"))
    resumed.load(str(tmp_path / "saved"))
    learner.step(batch, [])
    resumed.step(batch, [])
    assert same(weights(learner), weights(resumed))
    assert learner.version == resumed.version == 2


def test_the_learning_rate_warms_up_and_stays(given: DpoSettings) -> None:
    learner = Learner(given.model_copy(update={"lr_warmup_steps": 2, "lr": 1e-4}))
    batch = pairs(learner)
    rates = [learner.step(batch, []).value["lr"] for _ in range(3)]
    assert rates == pytest.approx([5e-5, 1e-4, 1e-4])
