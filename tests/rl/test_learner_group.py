"""Several learner workers on a real cluster: they act as one, end as one, and others go on where they were."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests
import pytest
import ray
import torch
from peft import PeftModel
from ray.exceptions import RayError
from transformers import AutoModelForCausalLM

from rl.learner import TrainPair
from rl.learner_group import LearnerGroup
from rl.lines import read_lines
from rl.placement import actor_options
from rl.program import improve
from rl.weights import Weights, read, tensors, write
from tests.rl.learners import CHOSEN, REJECTED
from tests.rl.tiny import ShareOfE, settings
from wildreward.errors import UsageError, WildrewardError
from wildreward.settings.dpo import DpoSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def given(start: Path, tmp_path: Path) -> DpoSettings:
    return settings(tmp_path, policy=str(start), learner_workers=2, lora_rank=4, lr=1e-2)


def group_of(given: DpoSettings) -> LearnerGroup:
    group = LearnerGroup(given, actor_options(given, "learner"))
    group.start()
    return group


def step(group: LearnerGroup, reference: Weights | None) -> dict[str, float]:
    logps = group.call("reference_logps", [*CHOSEN, *REJECTED], reference).value
    count = len(CHOSEN)
    pairs = [TrainPair(CHOSEN[i], REJECTED[i], logps[i], logps[count + i]) for i in range(count)]
    found: dict[str, float] = group.call("step", pairs, []).value
    return found


def plain(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors(weights)}


def test_a_dead_worker_ends_the_others_and_new_ones_go_on_exactly_with_the_reference_of_then(
    given: DpoSettings, tmp_path: Path
) -> None:
    group = group_of(given)
    try:
        before = step(group, None)
        reference = group.call("weights")
        step(group, reference)
        group.call("save", str(tmp_path / "saved"))
        write(reference, tmp_path / "reference")
        expected = step(group, reference), plain(group.call("weights"))
        assert before["loss"] == pytest.approx(0.6931, abs=1e-3)
        waits, dies = group.workers
        pids = ray.get([worker.__ray_call__.remote(lambda self: os.getpid()) for worker in (waits, dies)])
        alone = waits.step.remote([TrainPair(CHOSEN[0], REJECTED[0], 0.0, 0.0)], [])  # meets nobody in its collectives
        os.kill(pids[1], signal.SIGKILL)
        with pytest.raises(WildrewardError, match="node died; the same command continues from the last checkpoint"):
            group.call("step", [], [])
        with pytest.raises(RayError):
            ray.get(alone)
        if psutil.pid_exists(pids[0]):
            psutil.Process(pids[0]).wait(timeout=60)
    finally:
        group.kill()
    others = group_of(given)
    try:
        others.call("load", str(tmp_path / "saved"))
        found = step(others, read(tmp_path / "reference", ray.put)), plain(others.call("weights"))
    finally:
        others.kill()
    assert found[0] == expected[0]
    assert all(torch.equal(found[1][name], tensor) for name, tensor in expected[1].items())


def test_a_lora_run_publishes_the_base_with_the_adapters_in_it(given: DpoSettings) -> None:
    """With the reference refreshed at every second step: the KL of the step after is zero again."""
    run = given.model_copy(update={"reference_refresh_steps": 2})
    improve(run, ShareOfE)
    kl = [row["kl"] for row in read_lines(Path(run.output) / "metrics.jsonl") if "kl" in row]
    assert kl[0] == pytest.approx(0, abs=1e-4)
    assert abs(kl[1]) > 1e-3
    assert kl[2] == pytest.approx(0, abs=1e-3)
    policy, ids = Path(run.output) / "policy", torch.arange(1, 9)[None]
    adapted: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(run.policy), str(policy / "adapter"))
    with torch.inference_mode():
        published = AutoModelForCausalLM.from_pretrained(policy)(ids).logits
        torch.testing.assert_close(adapted(ids).logits, published, rtol=0, atol=1e-4)
        assert not torch.allclose(AutoModelForCausalLM.from_pretrained(run.policy)(ids).logits, published, atol=1e-3)


def test_lora_targets_that_the_policy_lacks_are_refused_before_anything_starts(given: DpoSettings) -> None:
    with pytest.raises(UsageError, match=r"--lora-targets: query match no linear layer .* q_proj"):
        improve(given.model_copy(update={"lora_targets": ("query",)}), ShareOfE)
