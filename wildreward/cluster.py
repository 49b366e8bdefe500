"""Which Ray cluster a stage runs on: the one it is told of, the one it is already in, or a local one it starts.

with cluster(settings.address):
    ...
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wildreward.errors import UsageError, WildrewardError

MIN_LOCAL_CPUS = 4
"""Ray's CPUs are slots, not cores. With the two slots of a small machine Ray Data's own actors starve the file listing,
and a sweep cannot hold a trial and its training worker at once; so a local cluster has at least four."""


@contextmanager
def cluster(address: str | None = None) -> Iterator[None]:
    """Connect to Ray for the length of the block. Leaves a connection that was already there as it was.

    Raises UsageError for an address of the wrong form, WildrewardError for a cluster that cannot be reached.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def connect(address: str | None = None) -> None:
    """`ray.init` with our defaults. See `cluster`."""
    import ray

    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address not in {"auto", "local"} and ":" not in address:
        raise UsageError(f"--address: found {address!r}; allowed are auto, local, HOST:PORT and ray://HOST:PORT")
    try:
        ray.init(address=address, **_options(address))
    except (ConnectionError, TimeoutError, RuntimeError) as error:
        raise WildrewardError(f"--address {address}: no Ray cluster could be reached: {error}") from error


def _options(address: str) -> dict[str, Any]:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning", "runtime_env": {"env_vars": _env()}}
    if address == "local":
        # The dashboard stays on: Ray Train reports its controller's state through it and logs errors without it.
        options |= {"num_cpus": max(MIN_LOCAL_CPUS, os.cpu_count() or 1), "include_dashboard": True}
    return options


def _env() -> dict[str, str]:
    return {"TOKENIZERS_PARALLELISM": "false", "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0"}
