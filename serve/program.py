"""`wildreward serve`: check the checkpoint, start the scorer, print where it is, run until Ctrl-C or SIGTERM.

    wildreward serve --checkpoint runs/train/checkpoint --port 8000

With --address, a second `serve` of the same --app-name updates the running one without a failed request, and returns.
Inside a program that is connected to Ray: `url = start(settings)`, later `stop(settings.app_name)`.
"""

import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any

from serve.canary import check_files
from serve.tokens import environment_digests, token_digests
from wildreward import storage
from wildreward.cluster import cluster
from wildreward.errors import UsageError, WildrewardError
from wildreward.progress import Progress
from wildreward.settings.serve import ServeSettings

ALIVE_CHECK_S = 2.0
PROXY_GRACE_S = 1.0
"""How much later than a replica the proxy gives a request up: it also bounds the wait for a replica."""

_started_serve = False


def run(settings: ServeSettings) -> None:
    """Serve until interrupted; with `detach` return once it is ready. Raises WildrewardError."""
    check_files(settings)
    if settings.detach and settings.address in (None, "local"):
        raise UsageError("--detach: a local cluster ends with this command; give --address of one that stays")
    if settings.output:
        storage.write_text(storage.join(settings.output, "settings.yaml"), settings.to_yaml())
    with cluster(settings.address):
        was_there = _is_running(settings.app_name)
        url = start(settings)
        print(_announcement(settings, url, stays=settings.detach or was_there), flush=True)
        if not (settings.detach or was_there):  # whoever started it ends it
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
    """Deploy on the connected cluster, or update what runs there under this name; the base URL when it is ready.

    Raises WildrewardError; an application that ran before then serves as before.
    """
    global _started_serve  # noqa: PLW0603 Serve is one per cluster, so who started it is a fact of the process
    from ray import serve as ray_serve

    from serve.edge import CONTROLLER_OPTIONS
    from serve.rollout import roll_out

    check_files(settings)
    digests = environment_digests(settings)
    if not token_digests(settings) and not settings.is_loopback:
        print(
            f"wildreward: warning: listening on {settings.host} without a token: whoever reaches this port can use the "
            f"scorer; set {settings.token_env} or --token-file",
            file=sys.stderr,
        )
    host, port = _http_address(settings)
    if not ray_serve.status().proxies:
        ray_serve.start(
            proxy_location="EveryNode",
            http_options={"host": host, "port": port, "request_timeout_s": settings.request_timeout_s + PROXY_GRACE_S},
            logging_config=_logs(settings),
            controller_options=CONTROLLER_OPTIONS,
        )
        _started_serve = True
    try:
        with Progress("starting the scorer"):
            before = roll_out(settings, digests)
    except WildrewardError:
        if not _is_running(settings.app_name):
            stop(settings.app_name)
        raise
    if before is not None:
        print(f"updated {settings.app_name}: {before.id} -> {settings.checkpoint}", file=sys.stderr)
    return f"http://{_reachable(host)}:{port}{settings.route_prefix.rstrip('/')}"


def _is_running(app_name: str) -> bool:
    from ray import serve as ray_serve

    return app_name in ray_serve.status().applications


def stop(app_name: str = "wildreward") -> None:
    """Take the application down, and Serve with it where `start` began it."""
    global _started_serve  # noqa: PLW0603 as in start
    from ray import serve as ray_serve

    if _started_serve:
        ray_serve.shutdown()
        _started_serve = False
    else:
        ray_serve.delete(app_name)


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


def _announcement(settings: ServeSettings, url: str, stays: bool) -> str:
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
            f"It stays in the cluster as application {settings.app_name}." if stays else "Ctrl-C stops it.",
        ]
    )
