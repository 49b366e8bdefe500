"""Where the scorer listens: as the settings say, or where Serve of the cluster already does."""

import socket
import sys
from contextlib import closing
from typing import Any

from serve.tokens import token_digests
from wildreward.errors import UsageError
from wildreward.settings.serve import LOOPBACK, ServeSettings


def http_address(settings: ServeSettings) -> tuple[str, int]:
    """(host, port) to listen on: the settings', or where the cluster's Serve already listens.

    Raises UsageError for a port that is taken, or one that a running Serve does not listen on.
    """
    from ray import serve as ray_serve

    if ray_serve.status().proxies:
        host, port = running_address()
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


def running_address() -> tuple[str, int]:
    from ray.serve.context import _get_global_client

    client: Any = _get_global_client()  # Serve tells nowhere public where it listens
    return str(client.http_config.host), int(client.http_config.port)


def reachable(host: str) -> str:
    """An address of this machine that a client can use where the server listens on all."""
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def warn_if_open(host: str, settings: ServeSettings) -> None:
    """Says so where anybody who reaches the port can use the scorer."""
    if host not in LOOPBACK and not token_digests(settings):
        print(
            f"wildreward: warning: listening on {host} without a token: whoever reaches this port can use the "
            f"scorer; set {settings.token_env} or --token-file",
            file=sys.stderr,
        )
