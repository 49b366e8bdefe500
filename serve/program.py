"""`wildreward serve`: check the checkpoint, start the scorer, print where it is, run until Ctrl-C or SIGTERM.

    wildreward serve --checkpoint runs/train/checkpoint --port 8000

Inside a program that is connected to Ray: `url = start(settings)`, later `stop(settings.app_name)`.
"""

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from serve.guard import token_digests
from wildreward import storage
from wildreward.cluster import cluster
from wildreward.errors import CheckpointError, UsageError, WildrewardError
from wildreward.progress import Progress
from wildreward.settings.serve import ServeSettings

POLL_S = 0.2
ALIVE_CHECK_S = 2.0
_started_serve = False


def run(settings: ServeSettings) -> None:
    """Serve until interrupted; with `detach` return once it is ready. Raises WildrewardError."""
    check(settings)
    if settings.detach and settings.address in (None, "local"):
        raise UsageError("--detach: a local cluster ends with this command; give --address of one that stays")
    if settings.output:
        storage.write_text(storage.join(settings.output, "settings.yaml"), settings.to_yaml())
    with cluster(settings.address):
        url = start(settings)
        print(_announcement(settings, url), flush=True)
        if not settings.detach:
            _serve_until_interrupted(settings.app_name)


def _serve_until_interrupted(app_name: str) -> None:
    try:
        # Entered after ray.init, whose own SIGTERM handler prints a stack trace.
        with _interrupts() as interrupted:
            while not interrupted.wait(ALIVE_CHECK_S):
                _check_alive(app_name)
    finally:
        print("stopping: requests in flight are finished first", file=sys.stderr, flush=True)
        stop(app_name)


def start(settings: ServeSettings) -> str:
    """Deploy on the connected cluster, wait until a replica is ready, return the base URL. Raises WildrewardError."""
    global _started_serve  # noqa: PLW0603 Serve is one per cluster, so who started it is a fact of the process
    from ray import serve as ray_serve

    from serve.app import application

    check(settings)
    digests = token_digests(settings)
    if not digests and not settings.is_loopback:
        print(
            f"wildreward: warning: listening on {settings.host} without a token: whoever reaches this port can use the "
            f"scorer; set {settings.token_env} or --token-file",
            file=sys.stderr,
        )
    host, port = _http_address(settings)
    if not ray_serve.status().proxies:
        ray_serve.start(
            proxy_location="EveryNode", http_options={"host": host, "port": port}, logging_config=_logs(settings)
        )
        _started_serve = True
    with Progress("starting the scorer"):
        ray_serve._run(application(settings, digests), _blocking=False, name=settings.app_name, route_prefix="/")
        _wait_ready(settings)
    return f"http://{_reachable(host)}:{port}"


def stop(app_name: str = "wildreward") -> None:
    """Take the application down, and Serve with it where `start` began it."""
    global _started_serve  # noqa: PLW0603 as in start
    from ray import serve as ray_serve

    if _started_serve:
        ray_serve.shutdown()
        _started_serve = False
    else:
        ray_serve.delete(app_name)


def check(settings: ServeSettings) -> None:
    """What can be known without starting anything: the checkpoint's files, its head and its template, the tokens.

    Raises CheckpointError or UsageError.
    """
    from wildreward.chat_template import check_given

    token_digests(settings)
    directory = Path(settings.checkpoint)
    if not directory.exists():
        raise CheckpointError(f"--checkpoint {settings.checkpoint}: no such directory")
    if not (directory / "config.json").is_file():
        raise CheckpointError(f"--checkpoint {settings.checkpoint}: no config.json in it: not a checkpoint directory")
    if not any(directory.glob("*.safetensors")):
        raise CheckpointError(f"--checkpoint {settings.checkpoint}: no *.safetensors in it: no weights to load")
    try:
        json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{directory}/config.json: not valid JSON: {error}") from None
    check_given(directory, settings.template, settings.chat_template)


def _http_address(settings: ServeSettings) -> tuple[str, int]:
    """(host, port) to listen on: the settings', or where the cluster's Serve already listens.

    Raises UsageError for a port that is taken, or one that a running Serve does not listen on.
    """
    from ray import serve as ray_serve

    if ray_serve.status().proxies:
        host, port = _running_address()
        if settings.port not in (0, port):
            raise UsageError(f"--port {settings.port}: Serve of this cluster already listens on port {port}; give that")
        return host, port
    with closing(socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"--host {settings.host} --port {settings.port}"
            raise UsageError(f"{where}: cannot listen there: {error.strerror}; --port 0 takes a free one") from None
        return settings.host, int(probe.getsockname()[1])


def _running_address() -> tuple[str, int]:
    from ray.serve.context import _get_global_client

    client: Any = _get_global_client()  # Serve tells nowhere public where it listens
    return str(client.http_config.host), int(client.http_config.port)


def _wait_ready(settings: ServeSettings) -> None:
    """Until the application runs. Raises WildrewardError with the replica's own message where it cannot start."""
    from ray import serve as ray_serve

    deadline = time.monotonic() + settings.start_timeout_s
    while time.monotonic() < deadline:
        app = ray_serve.status().applications.get(settings.app_name)
        if app is not None and app.status == "RUNNING":
            return
        messages = [] if app is None else [app.message, *(d.message for d in app.deployments.values())]
        if app is not None and (app.status == "DEPLOY_FAILED" or any("Error" in message for message in messages)):
            stop(settings.app_name)
            raise CheckpointError(f"--checkpoint {settings.checkpoint}: no replica could start: {' '.join(messages)}")
        time.sleep(POLL_S)
    stop(settings.app_name)
    raise WildrewardError(
        f"--start-timeout-s {settings.start_timeout_s:g}: no replica was ready in time; each needs "
        f"{settings.cpus_per_replica:g} CPUs and {settings.gpus_per_replica:g} GPUs"
    )


def _check_alive(app_name: str) -> None:
    """Raises WildrewardError when somebody else took the application down."""
    from ray import serve as ray_serve

    if app_name not in ray_serve.status().applications:
        raise WildrewardError(f"the application {app_name} is no longer there; it was deleted from outside")


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set. Elsewhere than in the main thread signals are left alone."""
    event = threading.Event()

    def interrupt(_: int, __: FrameType | None) -> None:
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _logs(settings: ServeSettings) -> dict[str, Any]:
    return {"enable_access_log": settings.access_log, "log_level": "WARNING"}


def _reachable(host: str) -> str:
    """An address of this machine that a client can use where the server listens on all."""
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _announcement(settings: ServeSettings, url: str) -> str:
    token = ' -H "Authorization: Bearer $TOKEN"' if token_digests(settings) else ""
    item = {"prompt": "What is the capital of France?", "responses": ["Paris.", "I do not know."]}
    rows = {
        "page": f"{url}/",
        "score": f"{url}/v1/score",
        "compare": f"{url}/v1/compare",
        "reward": f"{url}/get_reward",
        "docs": f"{url}/docs",
        "ready": f"{url}/readyz",
    }
    body = json.dumps({"items": [item]})
    return "\n".join(
        [
            f"wildreward serves {settings.checkpoint}",
            *(f"  {name:<8} {where}" for name, where in rows.items()),
            "",
            f"curl -s {url}/v1/score{token} -H 'Content-Type: application/json' -d '{body}'",
            "",
            f"It stays in the cluster as application {settings.app_name}." if settings.detach else "Ctrl-C stops it.",
        ]
    )
