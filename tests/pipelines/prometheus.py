"""Ray's Prometheus endpoint, read as Prometheus would."""

import re
from collections import defaultdict

import httpx2
import ray

TELLING = ("reason", "question", "outcome", "kind")


def series(judge: str) -> dict[tuple[str, str], float]:
    """What the endpoint says of one judge, added up over its actors, by name and distinguishing tag."""
    [node] = ray.nodes()
    page = httpx2.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text
    found: dict[tuple[str, str], float] = defaultdict(float)
    for name, labels, value in re.findall(r"^ray_wildreward_label_(\w+)\{(.*)\} (\S+)$", page, re.MULTILINE):
        tags = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if tags.get("judge") == judge and not name.endswith(("_bucket", "_sum")):
            found[name, next((tags[tag] for tag in TELLING if tag in tags), "")] += float(value)
    return dict(found)
