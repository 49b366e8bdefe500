"""Which Ray cluster a stage runs on: the one it is told of, the one it is already in, or a local one it starts.

with stage_cluster("label", settings):
    ...
"""

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from wildreward import logs
from wildreward.errors import UsageError, WildrewardError
from wildreward.interruption import sigterm_interrupts
from wildreward.settings.base import StageSettings

MIN_LOCAL_CPUS = 4
"""Ray's CPUs are slots, not cores. With the two slots of a small machine Ray Data's own actors starve the file listing,
and a sweep cannot hold a trial and its training worker at once; so a local cluster has at least four."""

CONNECT_TIMEOUT_S = 5.0

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of gRPC begins (RFC 9113, 3.4): the preface and empty settings. A server answers with its own."""

WORKER_ENV = {"TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def cluster(address: str | None = None) -> Iterator[None]:
    """Connect to Ray for the length of the block, in which SIGTERM raises KeyboardInterrupt. Leaves a connection that
    was already there as it was.

    Raises UsageError for an address of the wrong form, WildrewardError for a cluster that cannot be reached.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    connect(address)
    try:
        with sigterm_interrupts():
            yield
    finally:
        ray.shutdown()


@contextmanager
def stage_cluster(stage: str, settings: StageSettings, here_only: Collection[str] = ()) -> Iterator[None]:
    """`cluster` for a stage's work, once its local paths are seen by all nodes, but those of the settings `here_only`,
    which only this process opens. Raises WildrewardError naming the path and the node."""
    from wildreward.shared_paths import require_shared

    with cluster(settings.address):
        require_shared(stage, settings, here_only)
        yield


def connect(address: str | None = None) -> None:
    """`ray.init` with our defaults. See `cluster`."""
    import ray

    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address not in {"auto", "local"} and ":" not in address:
        raise UsageError(f"--address: found {address!r}; allowed are auto, local, HOST:PORT and ray://HOST:PORT")
    _check_reachable(address)
    try:
        ray.init(address=address, **_options(address))
    except (ConnectionError, TimeoutError, RuntimeError) as error:
        raise WildrewardError(f"--address {address}: no Ray cluster could be reached: {error}") from error


def _check_reachable(address: str) -> None:
    """Ray itself waits for minutes for a host that does not answer, or for another server on that port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S) as connection:
            connection.sendall(HELLO)
            connection.recv(1)  # one that wants TLS hangs up here, which is an answer too
    except (OSError, ValueError, OverflowError) as error:
        raise WildrewardError(f"--address {address}: no Ray cluster answers there: {error}") from None


def _metadata() -> dict[str, str]:
    """What `ray list jobs` and the dashboard show of the job."""
    return {name.lower(): value for name, value in logs.worker_environment().items()}


def _options(address: str) -> dict[str, Any]:
    import ray

    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "warning",
        **logs.ray_options(),
    }
    environment = logs.runtime_environment()
    options["runtime_env"] = environment | {"env_vars": WORKER_ENV | environment["env_vars"]}
    if not address.startswith("ray://"):
        options["job_config"] = ray.job_config.JobConfig(metadata=_metadata())
    if address == "local":
        # The dashboard stays on: Ray Train reports its controller's state through it and logs errors without it.
        options |= {"num_cpus": max(MIN_LOCAL_CPUS, os.cpu_count() or 1), "include_dashboard": True}
    return options
