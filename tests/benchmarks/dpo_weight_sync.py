"""From the learner's weights to an engine that writes with them, by part: pack, put, get, load.

    python -m tests.benchmarks.dpo_weight_sync --output /tmp/dpo_weight_sync --shapes 14m 100m
    python -m tests.benchmarks.dpo_weight_sync --output /tmp/dpo_weight_sync --shapes 14m 100m --lora-rank 16
    python -m tests.benchmarks.dpo_weight_sync --output /tmp/dpo_weight_sync --shapes 1b --dtype bfloat16

A random Llama in two actors: one publishes its weights as the learner does, bucket by bucket into the object store, the
other gets them and loads them into its rollout engine (in float32 on CPUs, that lays out every matrix anew for oneDNN;
with adapters, that merges them into the weights they change). The learner's optimiser is left out: it takes no part.
Prints medians of `--rounds` in seconds by part, the best in all, bytes that travel and GB/s.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray

from rl.rollout import EngineOptions, RolloutWorker
from tests.benchmarks.dpo_material import policy
from wildreward.settings.dpo import DpoSettings

PARTS = ("pack", "put", "get", "load")


class Sender:
    """The learner's side."""

    def __init__(self, settings: DpoSettings) -> None:
        import torch

        from rl.models import load_policy
        from rl.process_group import Rendezvous
        from wildreward.policy_lora import add_adapter

        Rendezvous().join(0, 1, None, settings.device)
        self.settings = settings
        model, _ = load_policy(settings.policy, settings.device, settings.dtype)
        if settings.lora_rank:
            add_adapter(model, settings)
        self.engine = SimpleNamespace(module=model, device=torch.device(settings.device))

    def send(self) -> tuple[Any, dict[str, float], int]:
        """The weights, seconds by part, and bytes."""
        from rl.publishing import published

        putting, size = 0.0, 0

        def put(bucket: Any) -> Any:
            nonlocal putting, size
            started = time.perf_counter()
            reference = ray.put(bucket)
            putting += time.perf_counter() - started
            size += sum(array.nbytes for _, array in bucket.values())
            return reference

        started = time.perf_counter()
        weights = published(self.engine, self.settings, put)
        return weights, {"pack": time.perf_counter() - started - putting, "put": putting}, size

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.engine.module.parameters())


class Receiver(RolloutWorker):
    """The engine's side."""

    def receive(self, weights: Any) -> dict[str, float]:
        started = time.perf_counter()
        held = ray.get(list(weights.buckets))  # mapped, and found there at once when they are loaded
        got = time.perf_counter()
        self.engine.load_weights(weights)
        del held
        return {"get": got - started, "load": time.perf_counter() - got}


def main() -> None:
    given = arguments()
    root = Path(given.output)
    root.mkdir(parents=True, exist_ok=True)
    from wildreward.cluster import cluster

    with cluster("local"):
        for shape in given.shapes:
            print(json.dumps({"shape": shape} | measured(policy(root, shape, 256), given)), flush=True)


def measured(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    settings = DpoSettings(policy=str(path), dtype=given.dtype, device=given.device, lora_rank=given.lora_rank)
    options = EngineOptions(str(path), given.device, given.dtype, max_tokens=256)
    gpus = 0.5 if given.device == "cuda" else 0
    sender: Any = ray.remote(num_cpus=0.1, num_gpus=gpus)(Sender).remote(settings)
    receiver: Any = ray.remote(num_cpus=0.1, num_gpus=gpus)(Receiver).remote(given.engine, options)
    parameters, _ = ray.get([sender.parameters.remote(), receiver.start.remote()])
    rounds, size = [], 0
    for _ in range(given.rounds + 1):
        weights, sent, size = ray.get(sender.send.remote())
        rounds.append(sent | ray.get(receiver.receive.remote(weights)))
        del weights
    for actor in (sender, receiver):
        ray.kill(actor)
    return {
        "parameters": parameters,
        "dtype": given.dtype,
        "lora_rank": given.lora_rank,
        "engine": given.engine,
        "threads": os.cpu_count(),
    } | summary(rounds[1:], size)  # the first makes room


def summary(rounds: list[dict[str, float]], size: int) -> dict[str, Any]:
    whole = [sum(found.values()) for found in rounds]
    return {
        "gigabytes": round(size / 1e9, 4),
        "seconds": {part: round(statistics.median(found[part] for found in rounds), 4) for part in PARTS},
        "seconds_in_all": {"best": round(min(whole), 4), "median": round(statistics.median(whole), 4)},
        "gigabytes_per_s": round(size / 1e9 / statistics.median(whole), 2),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, help="directory for the random policies")
    parser.add_argument("--shapes", nargs="+", default=["14m", "100m"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--lora-rank", type=int, default=0, help="send adapters of this rank only")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--engine", default="transformers", choices=["transformers", "vllm"])
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
