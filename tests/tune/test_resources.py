"""How many trials run at a time follows from the cluster, and is said beforehand."""

import pytest

from tune.resources import Supply, place
from wildreward.errors import UsageError
from wildreward.settings.train import TrainSettings
from wildreward.settings.tune import TuneSettings

TWO_CORES = Supply(cpus=4, gpus=0, cores=2)
EIGHT_GPUS = Supply(cpus=64, gpus=8, cores=64)


def base(**values: object) -> TrainSettings:
    return TrainSettings.parse({"batch_rows": 32, **values})


def test_a_local_cluster_is_counted_by_its_cores_and_not_by_rays_slots() -> None:
    found = place(TuneSettings(), base(), TWO_CORES, trials=6)
    assert (found.at_a_time, found.threads) == (2, 1)
    assert found.text == "6 trials, 2 at a time; each 1 worker with 1 thread (2 cores, no GPU)"


def test_one_trial_alone_has_all_cores() -> None:
    assert place(TuneSettings(max_concurrent_trials=1), base(), TWO_CORES, trials=6).threads == 2
    assert place(TuneSettings(), base(), TWO_CORES, trials=1).threads == 2


def test_threads_that_are_set_are_kept() -> None:
    assert place(TuneSettings(), base(threads=3), TWO_CORES, trials=6).threads == 3


def test_gpus_are_shared_by_the_workers_of_a_trial() -> None:
    found = place(TuneSettings(), base(workers=4), EIGHT_GPUS, trials=6)
    assert found.at_a_time == 2
    assert found.text == "6 trials, 2 at a time; each 4 workers with a GPU each (64 cores, 8 GPUs)"
    assert place(TuneSettings(max_concurrent_trials=5), base(workers=4), EIGHT_GPUS, trials=6).at_a_time == 2
    assert place(TuneSettings(), base(workers=4, device="cpu"), EIGHT_GPUS, trials=99).at_a_time == 15


def test_more_than_the_cluster_has_room_for_is_not_started() -> None:
    assert place(TuneSettings(max_concurrent_trials=9), base(), TWO_CORES, trials=99).at_a_time == 3


def test_a_trial_that_never_fits_is_refused_with_what_it_needs() -> None:
    with pytest.raises(UsageError, match=r"a trial needs 4\.01 CPUs \(workers=4 of cpus_per_worker=1.* has 4"):
        place(TuneSettings(), base(workers=4), TWO_CORES, trials=6)
    with pytest.raises(UsageError, match=r"device gpu: a trial needs 1 GPUs; the cluster has 0"):
        place(TuneSettings(), base(device="gpu"), TWO_CORES, trials=6)
