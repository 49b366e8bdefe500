"""`wildreward serve`: check the checkpoint, start the scorer, print where it is, run until Ctrl-C or SIGTERM.

    wildreward serve --checkpoint runs/train/checkpoint --port 8000

With --address, a second `serve` of the same --app-name updates the running one without a failed request, and returns.
Inside a program that is connected to Ray: `url = start(settings)`, later `stop(settings.app_name)`.
"""

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from serve.address import http_address, reachable, warn_if_open
from serve.canary import check_files
from serve.tokens import environment_digests, token_digests
from wildreward import storage
from wildreward.cluster import stage_cluster
from wildreward.errors import UsageError, WildrewardError
from wildreward.progress import Progress
from wildreward.resources import Ask, require
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
    with stage_cluster("serve", settings, here_only={"output"}):
        each = {"CPU": settings.cpus_per_replica, "GPU": settings.gpus_per_replica}
        require("serve", [Ask("replica", max(1, settings.min_replicas), each)])
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
    host, port = http_address(settings)
    warn_if_open(host, settings)
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
    return f"http://{reachable(host)}:{port}{settings.route_prefix.rstrip('/')}"


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
