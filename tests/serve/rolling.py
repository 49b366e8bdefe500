"""A scorer of its own path on the session's Serve, with replicas that can be counted, and clients that never stop."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from serve.calls import Retry
from serve.client import HttpClient
from serve.schema import RequestError
from tests.serve.test_engine import conversation
from wildreward.settings.serve import ServeSettings

CONVERSATIONS = [conversation(words % 30 + 1, words) for words in range(16)]


def settings_of(checkpoint: Path, app_name: str, **values: Any) -> ServeSettings:
    defaults: dict[str, Any] = {
        "app_name": app_name,
        "route_prefix": f"/{app_name}",
        "port": 0,
        "cpus_per_replica": 0.1,
        "upscale_delay_s": 0.2,
        "downscale_delay_s": 0.5,
        "load_window_s": 1.0,
    }
    return ServeSettings(checkpoint=str(checkpoint), **defaults | values)


def replicas(app_name: str) -> int:
    """Running ones."""
    from ray import serve as ray_serve

    app = ray_serve.status().applications.get(app_name)
    states = [] if app is None else [deployment.replica_states for deployment in app.deployments.values()]
    return sum(count for found in states for state, count in found.items() if state == "RUNNING")


def replica_pids(app_name: str) -> set[int]:
    import ray
    from ray.util.state import list_actors

    address = ray.get_runtime_context().gcs_address  # this test's own cluster, where several run on the machine
    actors = list_actors(address, filters=[("state", "=", "ALIVE")], detail=True)
    return {int(actor.pid) for actor in actors if actor.pid and f"{app_name}#scorer#" in (actor.name or "")}


class Answers:
    """What the clients got: per answer its model and its score, and every failure."""

    def __init__(self) -> None:
        self.scored: list[tuple[int, str, float]] = []
        self.failed: list[RequestError] = []

    @property
    def models(self) -> set[str]:
        return {model for _, model, _ in self.scored}


@contextmanager
def load(url: str, clients: int, retry: Retry | None = None) -> Iterator[Answers]:
    """Clients that score one conversation after the other until the block ends. Without retries unless told."""
    answers, done = Answers(), threading.Event()

    def client(first: int) -> None:
        with HttpClient(url, retry=retry or Retry(attempts=1)) as scorer:
            turn = first
            while not done.is_set():
                turn = (turn + 1) % len(CONVERSATIONS)
                try:
                    got = scorer._patient("score", {"items": [{"messages": CONVERSATIONS[turn]}]})
                except RequestError as error:
                    answers.failed.append(error)
                else:
                    answers.scored.append((turn, got["model"], got["items"][0]["responses"][0]["score"]))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join()


def metric(name: str, app_name: str, **tags: str) -> float:
    """Of an application on this node's Prometheus endpoint, added up over replicas; 0 where it is not there."""
    import re

    import ray

    [node] = ray.nodes()
    page = httpx2.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text
    wanted = {"application": app_name} | tags
    total = 0.0
    for labels, value in re.findall(rf"^ray_wildreward_serve_{name}\{{(.*)\}} (\S+)$", page, re.MULTILINE):
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if wanted.items() <= found.items():
            total += float(value)
    return total
