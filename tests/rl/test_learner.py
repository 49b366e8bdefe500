"""The learner: one step does what DPO says, on any number of workers, and a NaN never reaches the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rl.learner import Learner
from tests.ranks import spawn
from tests.rl.learners import CHOSEN, REJECTED, Outcome, broken, learner_of, monitored, outcome, pairs, same, state
from tests.rl.tiny import settings
from wildreward.dpo import sequence_logps
from wildreward.errors import CheckpointError, TrainingError
from wildreward.settings.dpo import DpoSettings

pytestmark = pytest.mark.usefixtures("process_group")


@pytest.fixture(scope="module")
def given(start: Path, tmp_path_factory: pytest.TempPathFactory) -> DpoSettings:
    return settings(tmp_path_factory.mktemp("learner"), policy=str(start))


@pytest.fixture(scope="module")
def learner(given: DpoSettings) -> Learner:
    """Shared, as an engine costs a second; whoever makes steps with it makes no claim about where it started."""
    return learner_of(given)


def changed(given: DpoSettings, **values: Any) -> DpoSettings:
    return DpoSettings.model_validate(given.model_dump() | values)


def test_before_the_first_step_kl_is_zero_and_the_loss_log_two_and_steps_lower_it(given: DpoSettings) -> None:
    learner = learner_of(given)
    batch = pairs(learner)
    first, second = (learner.step(batch, monitored(batch)).value for _ in range(2))
    assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert first["entropy"] > 0
    assert second["kl"] != pytest.approx(0, abs=1e-4)
    assert second["loss"] < first["loss"]
    assert second["implicit/margin"] > first["implicit/margin"]
    assert learner.version == 2


def test_without_pairs_nothing_changes(learner: Learner) -> None:
    before, version = state(learner), learner.version
    assert learner.step([], []).value == {}
    assert same(state(learner), before)
    assert learner.version == version


def test_gradients_accumulated_over_micro_batches_and_recomputed_equal_those_of_one_batch(given: DpoSettings) -> None:
    whole = learner_of(given)
    parts = learner_of(given.model_copy(update={"micro_batch_tokens": 1, "gradient_checkpointing": True}))
    one, other = (each.step(pairs(each), []).value for each in (whole, parts))
    assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
    gradients, others = (torch.cat(momenta(each)) for each in (whole, parts))
    assert gradients.abs().max() > 0
    torch.testing.assert_close(gradients, others, rtol=1e-3, atol=float(1e-5 * gradients.abs().max()))


def momenta(learner: Learner) -> list[torch.Tensor]:
    """Adam's first ones: after one step the gradient times a constant. Weights would not do, as Adam divides each
    gradient by its own size: of one that is next to nothing, the last bits decide."""
    found = [state["exp_avg"].flatten() for state in learner.engine.optimizer.state.values()]
    assert sum(map(len, found)) >= sum(parameter.numel() for parameter in learner.engine.parameters())
    return found


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_a_number_never_reaches_the_weights(learner: Learner, value: float) -> None:
    batch, before, version = pairs(learner), state(learner), learner.version
    with pytest.raises(TrainingError, match=rf"step {version + 1}: the loss is"):
        learner.step([*batch[:-1], broken(batch[-1], value)], [])
    assert same(state(learner), before)
    assert learner.version == version


def test_a_gradient_that_is_not_a_number_never_reaches_the_weights(given: DpoSettings) -> None:
    """float32 overflows in the square of the gradients, not in the loss."""
    learner = learner_of(changed(given, beta=10.0, sft_weight=1e30))
    batch, before = pairs(learner), state(learner)
    with pytest.raises(TrainingError, match="the gradient norm is"):
        learner.step(batch, [])
    assert same(state(learner), before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_saved_and_loaded_it_goes_on_as_if_nothing_happened(
    given: DpoSettings, stage: int, dtype: str, tmp_path: Path
) -> None:
    """Bit by bit; and the policy that it wrote is the one it has, in the precision of the run."""
    from transformers import AutoModelForCausalLM

    learner, resumed = (learner_of(given.model_copy(update={"zero_stage": stage, "dtype": dtype})) for _ in range(2))
    batch = pairs(learner)
    learner.step(batch, [])
    learner.save(str(tmp_path))
    resumed.load(str(tmp_path))
    written: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "policy").eval()
    with torch.inference_mode():
        logps = sequence_logps(written, [*CHOSEN, *REJECTED], 0, 4096)
    assert str(written.dtype) == f"torch.{dtype}"
    assert logps == pytest.approx(resumed._logps([*CHOSEN, *REJECTED]), abs=1e-5 if dtype == "float32" else 0.2)
    learner.step(batch, [])
    resumed.step(batch, [])
    assert same(state(learner), state(resumed))
    assert learner.version == resumed.version == 2


def test_a_checkpoint_that_other_workers_wrote_elsewhere_is_named(learner: Learner, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no ds/ in it"):
        learner.load(str(tmp_path))


def test_rates_and_beta_follow_their_schedules(given: DpoSettings) -> None:
    """Read before each step, as the step would use them; both end at schedule_steps and then stay."""
    learner = Learner(
        changed(
            given,
            lr=1e-4,
            lr_warmup_steps=2,
            lr_schedule="linear",
            min_lr_frac=0.5,
            beta_end=0.5,
            beta_schedule="linear",
            steps=4,
        )
    )
    rates, betas = [], []
    for version in range(6):
        learner.version = version
        rates.append(learner._lr())
        betas.append(learner._objective().beta)
    assert rates == pytest.approx([5e-5, 1e-4, 1e-4, 7.5e-5, 5e-5, 5e-5])
    assert betas == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])


def test_dropout_of_the_policy_is_off_in_training_mode(start: Path, given: DpoSettings, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(start, attention_dropout=0.5)
    AutoModelForCausalLM.from_pretrained(start, config=config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(start).save_pretrained(tmp_path)
    learner = learner_of(given.model_copy(update={"policy": str(tmp_path)}))
    assert learner.step(pairs(learner), []).value["loss"] == pytest.approx(0.6931, abs=1e-3)
    learner.save(str(tmp_path / "saved"))
    assert AutoConfig.from_pretrained(tmp_path / "saved" / "policy").attention_dropout == 0.5


KINDS: dict[str, dict[str, Any]] = {
    "zero2": {"zero_stage": 2},
    "zero3": {"zero_stage": 3, "sync_bucket_bytes": 1024},
    "lora2": {"zero_stage": 2, "lora_rank": 4, "gradient_checkpointing": True},
    "lora3": {"zero_stage": 3, "lora_rank": 4},
}


def without_ties(found: Outcome) -> list[dict[str, float]]:
    """Before the first step implicit rewards are zero up to rounding: which is larger means nothing."""
    first, *others = found.metrics
    return [{name: value for name, value in first.items() if name != "implicit/accuracy"}, *others]


def test_two_workers_learn_what_one_does(given: DpoSettings, tmp_path: Path) -> None:
    """Three pairs on two ranks, so that one has a filler; tolerance 1e-5 in weights after three steps, 1e-4 in metrics.

    The NaN is in the pair of one rank alone: both refuse it, by the same words, and keep their weights.
    """
    sharp = changed(given, sft_weight=0.5, beta=0.5, micro_batch_tokens=64)
    for name, values in KINDS.items():
        (tmp_path / f"settings_{name}.json").write_text(changed(sharp, **values).model_dump_json())
    ranks = spawn("tests.rl.learners", tmp_path)
    alone = {lora: outcome(changed(sharp, zero_stage=0, lora_rank=lora)) for lora in (0, 4)}
    assert [rank.wait() for rank in ranks] == [0, 0]
    for name, values in KINDS.items():
        expected = alone[values.get("lora_rank", 0)]
        found = [Outcome(**torch.load(tmp_path / f"settings_{name}.{rank}.pt")) for rank in (0, 1)]
        assert found[0].metrics == found[1].metrics
        for one, other in zip(without_ties(found[0]), without_ties(expected), strict=True):
            assert one == pytest.approx(other, abs=1e-4, rel=1e-4), name
        assert found[0].reference == pytest.approx(expected.reference, abs=1e-4)
        assert found[0].weights.keys() == expected.weights.keys()
        for weight, tensor in expected.weights.items():
            torch.testing.assert_close(found[0].weights[weight], tensor, rtol=0, atol=1e-5, msg=f"{name} {weight}")
        for rank in found:
            assert rank.unchanged
            assert rank.refused == expected.refused
            assert "the loss is nan" in rank.refused
