"""Every actor of a run is asked for, where the settings say it is to be."""

import os

from rl.models import threads_here
from rl.placement import actor_options, asks
from wildreward.settings.dpo import DpoSettings


def test_roles_share_one_gpu_or_have_their_own() -> None:
    given = DpoSettings(device="cuda", gpus_per_actor=0.25, rollout_gpus=1, learner_cpus=4)
    assert actor_options(given, "rollout") == {"num_cpus": 0.5, "num_gpus": 1}
    assert actor_options(given, "learner") == {"num_cpus": 4, "num_gpus": 0.25}
    assert actor_options(given.model_copy(update={"device": "cpu"}), "rollout") == {"num_cpus": 0.5, "num_gpus": 0}


def test_every_learner_worker_is_asked_for_and_a_lora_policy_needs_no_reference() -> None:
    given = DpoSettings(learner_workers=3, rollout_engines=2)
    assert [(ask.what, ask.count) for ask in asks(given)] == [
        ("rollout engine", 2),
        ("scorer", 1),
        ("reference", 1),
        ("learner worker", 3),
    ]
    assert "reference" not in {ask.what for ask in asks(given.model_copy(update={"lora_rank": 8}))}


def test_roles_that_compute_at_the_same_time_divide_the_cores() -> None:
    cores = os.cpu_count() or 1
    overlapping, in_turn = DpoSettings(staleness=1).cores_divided, DpoSettings(staleness=0).cores_divided
    assert threads_here(0, in_turn) == cores
    assert threads_here(0, overlapping) == max(1, cores // 2)
    assert threads_here(3, overlapping) == 3
    assert DpoSettings(staleness=1, device="cuda").cores_divided == 1
