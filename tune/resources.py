"""How many trials run at a time, and with how many threads: what the cluster's cores or GPUs allow, said beforehand."""

import os
from dataclasses import dataclass

from wildreward.errors import UsageError
from wildreward.resources import most
from wildreward.settings.train import TrainSettings
from wildreward.settings.tune import TuneSettings

TRIAL_CPUS = 0.01
"""Nearly nothing for the trial itself: its Ray Train workers reserve what they need. 0 is refused."""

PLENTY = 1e6
"""Stands for any number, where an autoscaler knows no limit."""


@dataclass(frozen=True)
class Placement:
    """`threads` of each worker where the settings of train leave them open; `text` says it to the user."""

    at_a_time: int
    threads: int
    text: str


@dataclass(frozen=True)
class Supply:
    """What the cluster has: Ray's CPUs and GPUs, and cores, which a local cluster has fewer of than of Ray's CPUs."""

    cpus: float
    gpus: float
    cores: int


def place(settings: TuneSettings, base: TrainSettings, supply: Supply, trials: int) -> Placement:
    """Trials at a time, at most as many as are wanted and fit. Raises UsageError when not even one fits.

    >>> def two_cores(**values):
    ...     return place(TuneSettings(**values), TrainSettings(), Supply(cpus=4, gpus=0, cores=2), trials=6).text
    >>> two_cores()
    '6 trials, 2 at a time; each 1 worker with 1 thread (2 cores, no GPU)'
    >>> two_cores(max_concurrent_trials=1)
    '6 trials, 1 at a time; each 1 worker with 2 threads (2 cores, no GPU)'
    """
    on_gpus = base.device != "cpu" and supply.gpus >= base.workers
    if base.device == "gpu" and not on_gpus:
        raise UsageError(f"base: device gpu: a trial needs {base.workers} GPUs; the cluster has {supply.gpus:g}")
    needed = base.workers * base.cpus_per_worker + TRIAL_CPUS
    fitting = int(supply.cpus / needed)
    if not fitting:
        raise UsageError(
            f"a trial needs {needed:g} CPUs (workers={base.workers} of cpus_per_worker={base.cpus_per_worker:g}, and "
            f"{TRIAL_CPUS} of its own); the cluster has {supply.cpus:g}"
        )
    sensible = int(supply.gpus // base.workers) if on_gpus else supply.cores // base.workers
    wanted = settings.max_concurrent_trials or max(1, sensible)
    at_a_time = min(wanted, fitting, int(supply.gpus // base.workers) if on_gpus else fitting, trials)
    threads = base.threads or max(1, supply.cores // (at_a_time * base.workers))
    each = f"{base.workers} worker{'s' if base.workers > 1 else ''}"
    kind = "with a GPU each" if on_gpus else f"with {threads} thread{'s' if threads > 1 else ''}"
    gpus = f"{supply.gpus:g} GPUs" if supply.gpus else "no GPU"
    text = f"{trials} trials, {at_a_time} at a time; each {each} {kind} ({supply.cores} cores, {gpus})"
    return Placement(at_a_time, threads, text)


def supply(base: TrainSettings) -> Supply:
    """Of the cluster that is connected, and of what its autoscaler may add where a trial does not fit without.

    A local cluster has more CPU slots than cores; elsewhere a slot is a core.
    """
    import ray
    from ray.util import get_node_ip_address

    here = get_node_ip_address()
    cores = 0
    for node in ray.nodes():
        if node["Alive"]:
            slots = int(node["Resources"].get("CPU", 0))
            cores += min(slots, os.cpu_count() or 1) if node["NodeManagerAddress"] == here else slots
    gpus = _enough("GPU", base.workers if base.device == "gpu" else 0)
    return Supply(_enough("CPU", base.workers * base.cpus_per_worker + TRIAL_CPUS), gpus, max(1, cores))


def _enough(name: str, needed: float) -> float:
    """What is there now, or what could be there where that is too little."""
    import ray

    now = float(ray.cluster_resources().get(name, 0))
    return now if now >= needed else min(most(name), PLENTY)
