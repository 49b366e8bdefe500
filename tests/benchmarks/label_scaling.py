"""How `label` grows with the nodes: 1, 2 and 4 simulated ones, a judge actor on each, against a judge of fixed latency.

    python -m tests.benchmarks.label_scaling [--nodes 1 2 4] [--loads 0.5x8 0.05x64] [--seconds 15]

Nodes are `ray start` processes here, each with two CPUs and a GPU that is only a name and holds the judge actor; the
head has none. LATENCYxFLIGHT is the judge's latency in seconds and the requests that each actor keeps in flight: what
they permit is FLIGHT / LATENCY turns a second and node. The judge is a process of its own, real HTTP. Each run is a Ray
job on as many conversations as keep all nodes busy for SECONDS. A line of JSON a run: `turns_per_s` is the slope of the
answers over time between the first and the last quarter, `of_permitted` its share of what so many nodes are permitted,
`busy_cores` how many cores of this machine were at work in that time, whoever worked.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests

from tests.benchmarks.judge_throughput import TURNS_EACH, conversation, server, stats
from tests.pipelines.label_chats import openai, settings, summary
from tests.ray_jobs import JobCluster, finished

FILES_A_NODE = 4
NODE = {"CPU": 2, "GPU": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--loads", nargs="+", default=["0.5x8", "0.05x64"])
    parser.add_argument("--seconds", type=float, default=15.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, JobCluster(Path(name, "ray"), workers_cpus=()) as cluster:
        for nodes in args.nodes:
            while len(cluster.workers) < nodes:
                cluster.add(NODE)
            for load in map(Load.read, args.loads):
                found = measured(cluster, Path(name, f"{nodes}-{load.in_flight}"), load, args.seconds)
                print(json.dumps({"nodes": nodes, **vars(load), **found}), flush=True)


@dataclass(frozen=True)
class Load:
    """A judge's latency, and the requests that each of its actors keeps in flight."""

    latency_s: float
    in_flight: int

    @classmethod
    def read(cls, text: str) -> "Load":
        latency_s, in_flight = text.split("x")
        return cls(float(latency_s), int(in_flight))


def measured(cluster: JobCluster, folder: Path, load: Load, seconds: float) -> dict[str, Any]:
    nodes = len(cluster.workers)
    permitted = nodes * load.in_flight / load.latency_s
    chats = write(folder / "chats", int(permitted * seconds), nodes)
    with server(latency_s=load.latency_s) as url:
        asked = openai(url) | {"judge_model": "digest", "judge_concurrency": load.in_flight, "judge_cache": "none"}
        rows = max(2, load.in_flight // TURNS_EACH)
        asked |= {"judge_actors": nodes, "judge_gpus_per_actor": 1, "label_batch_rows": rows}
        config = folder / "label.yaml"
        config.write_text(settings(chats, folder / "out", **asked).to_yaml())
        begun = time.monotonic()
        job = cluster.submit("python", "-m", "pipelines.label", "--config", config, job=folder.name)
        points = watched(url, job)
        finished(job, "rows: ")
    turns = summary(folder / "out")["turns"]["labelled"]
    assert turns == points[-1][1], (turns, points[-1])
    slope, busy = middle(points)
    return {
        "turns": turns, "turns_per_s": round(slope, 1), "permitted_per_s": permitted,
        "of_permitted": round(slope / permitted, 3), "busy_cores": round(busy, 2),
        "job_s": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def write(folder: Path, turns: int, nodes: int) -> Path:
    """At least so many turns, in files that as many read tasks can take."""
    folder.mkdir(parents=True)
    files = FILES_A_NODE * nodes
    each = -(-turns // (TURNS_EACH * files))
    for number in range(files):
        lines = [json.dumps(conversation(number * each + row)) + "\n" for row in range(each)]
        (folder / f"chats-{number:03d}.jsonl").write_text("".join(lines))
    return folder


def watched(url: str, job: Any) -> list[tuple[float, int, float]]:
    """(time, questions answered, processor seconds of the machine) a few times a second, until the job ends."""
    points = []
    while True:
        ended = job.poll() is not None
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
        points.append((time.monotonic(), int(stats(url)["outcomes"].get("answered", 0)), busy))
        if ended:
            return points
        time.sleep(0.2)


def middle(points: list[tuple[float, int, float]]) -> tuple[float, float]:
    """Answers a second and busy cores, between the first quarter of all answers and the last."""
    total = points[-1][1]
    first = next(point for point in points if point[1] >= total / 4)
    last = next(point for point in points if point[1] >= total * 3 / 4)
    seconds = last[0] - first[0]
    return (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds


if __name__ == "__main__":
    main()
