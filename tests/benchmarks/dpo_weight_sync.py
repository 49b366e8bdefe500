"""From the learner's weights to an engine that writes with them, by part: pack, put, get, load.

    python -m tests.benchmarks.dpo_weight_sync --output /tmp/dpo_weight_sync --shapes 14m 100m
    python -m tests.benchmarks.dpo_weight_sync --output /tmp/dpo_weight_sync --shapes 1b --dtype bfloat16

A random Llama in two actors: one packs its float32 weights in the precision of the rollouts and puts them into the
object store, the other gets them and loads them into its rollout engine (on CPUs in float32 that lays out every matrix
anew for oneDNN; `load` has it in). Prints seconds by part, the best and the median of `--rounds`, bytes and GB/s.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import ray

from rl.rollout import EngineOptions, RolloutWorker
from tests.benchmarks.dpo_material import policy

PARTS = ("pack", "put", "get", "load")


class Sender:
    """The learner's side: float32 weights."""

    def __init__(self, path: str, dtype: str) -> None:
        from rl.models import load_policy

        self.model, _ = load_policy(path)
        self.dtype = dtype

    def send(self) -> tuple[list[Any], dict[str, float], int]:
        """A reference in a list, so that Ray does not resolve it; seconds by part; bytes."""
        import torch

        from rl.weights import pack

        with torch.no_grad():
            next(self.model.parameters()).add_(0)
        started = time.perf_counter()
        weights = pack(self.model, getattr(torch, self.dtype))
        packed = time.perf_counter()
        reference = ray.put(weights)
        done = time.perf_counter()
        size = sum(array.nbytes for _, array in weights.values())
        return [reference], {"pack": packed - started, "put": done - packed}, size

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


class Receiver(RolloutWorker):
    """The engine's side."""

    def receive(self, references: list[Any]) -> dict[str, float]:
        started = time.perf_counter()
        weights = ray.get(references[0])
        got = time.perf_counter()
        self.engine.load_weights(weights)
        return {"get": got - started, "load": time.perf_counter() - got}


def main() -> None:
    given = arguments()
    root = Path(given.output)
    root.mkdir(parents=True, exist_ok=True)
    from wildreward.cluster import cluster

    with cluster("local"):
        for shape in given.shapes:
            print(json.dumps(measured(policy(root, shape, 256), shape, given)), flush=True)


def measured(path: Path, shape: str, given: argparse.Namespace) -> dict[str, Any]:
    place = {"num_cpus": 0.1, "num_gpus": 0.5 if given.device == "cuda" else 0}
    sender = ray.remote(**place)(Sender).remote(str(path), given.dtype)
    options = EngineOptions(str(path), given.device, given.dtype, max_tokens=256)
    receiver = ray.remote(**place)(Receiver).remote(given.engine, options)
    ray.get([receiver.start.remote(), sender.parameters.remote()])
    rounds, size = [], 0
    for _ in range(given.rounds + 1):
        references, sent, size = ray.get(sender.send.remote())
        rounds.append(sent | ray.get(receiver.receive.remote(references)))
        del references
    rounds = rounds[1:]  # the first makes room
    whole = [sum(found.values()) for found in rounds]
    line = {
        "shape": shape,
        "parameters": ray.get(sender.parameters.remote()),
        "dtype": given.dtype,
        "engine": given.engine,
        "threads": os.cpu_count(),
        "gigabytes": round(size / 1e9, 3),
        "seconds": {part: round(statistics.median(found[part] for found in rounds), 4) for part in PARTS},
        "seconds_in_all": {"best": round(min(whole), 4), "median": round(statistics.median(whole), 4)},
        "gigabytes_per_s": round(size / 1e9 / statistics.median(whole), 2),
    }
    for actor in (sender, receiver):
        ray.kill(actor)
    return line


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, help="directory for the random policies")
    parser.add_argument("--shapes", nargs="+", default=["14m", "100m"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--engine", default="transformers", choices=["transformers", "vllm"])
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
