"""Ray's Prometheus endpoint, read as Prometheus would."""

import re
from collections import defaultdict
from collections.abc import Iterator

import httpx2
import ray

TELLING = ("reason", "question", "outcome", "kind")


def samples(prefix: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(name after the prefix, tags, value) of every sample whose name begins so."""
    [node] = ray.nodes()
    page = httpx2.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text
    for name, labels, value in re.findall(rf"^ray_{prefix}_(\w+)\{{(.*)\}} (\S+)$", page, re.MULTILINE):
        yield name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)


def series(judge: str) -> dict[tuple[str, str], float]:
    """What the endpoint says of one judge, added up over its actors, by name and distinguishing tag."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for name, tags, value in samples("wildreward_label"):
        if tags.get("judge") == judge and not name.endswith(("_bucket", "_sum")):
            found[name, next((tags[tag] for tag in TELLING if tag in tags), "")] += value
    return dict(found)
