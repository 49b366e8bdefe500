"""Scoring a step's completions through a scorer actor against scoring the same texts through HTTP on loopback.

    python -m tests.benchmarks.dpo_scoring --rounds 5

One MiniLM-sized reward model (random head) on the same Ray cluster, once behind `wildreward serve`, once in the scorer
actor of `wildreward dpo`; float32, all cores, one model at work at a time. A step is 32 generated prompts with 4
replies each; over HTTP a request holds 8 prompts with their replies, and all are in flight at once. The two take turns.
Prints seconds and processor seconds (all processes) a step of each, the ratios by round, and the largest difference.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import ray

from rl.rollout import Timed
from rl.scorer import ScorerWorker, reward_model_factory
from tests.benchmarks.dpo_material import Messages, processor_seconds, talks
from tests.benchmarks.serve_throughput import _free_port, checkpoint_in
from wildreward.cli import run_stage
from wildreward.cluster import cluster
from wildreward.pairs import Completion

Scores = list[list[float]]


def main() -> None:
    given = arguments()
    prompts, replies_PG = material(given.prompts, given.replies)
    words = [len(reply.split()) for row in replies_PG for reply in row]
    about = {"prompts": given.prompts, "replies": given.replies, "words_per_reply": round(statistics.fmean(words), 1)}
    print(json.dumps(about | {"threads": os.cpu_count(), "dtype": "float32"}), flush=True)
    with tempfile.TemporaryDirectory() as folder, cluster("local"):
        checkpoint = checkpoint_in(Path(folder))
        with served(checkpoint) as url, acting(checkpoint) as actor:
            ways: dict[str, Callable[[], Scores]] = {
                "actor": lambda: by_actor(actor, prompts, replies_PG),
                "http": lambda: asyncio.run(by_http(url, prompts, replies_PG, given.per_request)),
            }
            compare(ways, given.rounds)


def compare(ways: dict[str, Callable[[], Scores]], rounds: int) -> None:
    found = {name: ways[name]() for name in ways}
    moved = max(abs(a - b) for x, y in zip(*found.values(), strict=True) for a, b in zip(x, y, strict=True))
    ratios: dict[str, list[float]] = {"wall": [], "processor": []}
    for number in range(rounds):
        order = list(ways) if number % 2 == 0 else list(ways)[::-1]
        took = {name: timed(ways[name]) for name in order}
        for index, kind in enumerate(ratios):
            ratios[kind].append(round(took["http"][index] / took["actor"][index], 2))
        print(json.dumps({"round": number} | {f"{name}_s": took[name] for name in ways}), flush=True)
    for kind, values in ratios.items():
        print(f"{kind}: HTTP / actor, median {statistics.median(values):.2f} of {values}")
    print(f"largest difference of a score: {moved:.2g}")


def timed(way: Callable[[], Scores]) -> tuple[float, float]:
    started, busy = time.perf_counter(), processor_seconds()
    way()
    return round(time.perf_counter() - started, 3), round(processor_seconds() - busy, 3)


def by_actor(actor: Any, prompts: list[Messages], replies_PG: list[list[str]]) -> Scores:
    """As the loop does it: the completions are an object, the rewards another."""
    completions = [[Completion(text, (), cut_off=False, version=0) for text in row] for row in replies_PG]
    rewards: Scores = ray.get(actor.score.remote(prompts, ray.put(Timed(completions, 0.0, 0)))).value.rewards_PG
    return rewards


async def by_http(url: str, prompts: list[Messages], replies_PG: list[list[str]], per_request: int) -> Scores:
    items = [{"prompt": p, "responses": row} for p, row in zip(prompts, replies_PG, strict=True)]
    async with aiohttp.ClientSession() as session:

        async def ask(part: list[Any]) -> Scores:
            async with session.post(url, json={"items": part}) as answer:
                answer.raise_for_status()
                return [[x["score"] for x in item["responses"]] for item in (await answer.json())["items"]]

        parts = [items[start : start + per_request] for start in range(0, len(items), per_request)]
        return [row for found in await asyncio.gather(*map(ask, parts)) for row in found]


@contextlib.contextmanager
def served(checkpoint: Path) -> Iterator[str]:
    from ray import serve as ray_serve

    port = _free_port()
    run_stage("serve", ["--checkpoint", str(checkpoint), "--port", str(port), "--address", "auto", "--detach"])
    try:
        yield f"http://127.0.0.1:{port}/v1/score"
    finally:
        ray_serve.shutdown()


@contextlib.contextmanager
def acting(checkpoint: Path) -> Iterator[Any]:
    factory = reward_model_factory(str(checkpoint), "cpu", "float32", None, False)
    actor: Any = ray.remote(num_cpus=0.1)(ScorerWorker).remote(factory, 0)
    ray.get(actor.start.remote())
    try:
        yield actor
    finally:
        ray.kill(actor)


def material(prompts: int, replies: int) -> tuple[list[Messages], list[list[str]]]:
    """Generated prompts, each with replies that the generated conversations hold."""
    rng = random.Random(0)
    found = [talk for talk in talks() if talk[0]["role"] == "user"][:prompts]
    pool = sorted({m["content"] for talk in talks() for m in talk if m["role"] == "assistant"})
    heads = [talk[: max(i for i, m in enumerate(talk) if m["role"] == "user") + 1] for talk in found]
    return heads, [rng.sample(pool, replies) for _ in heads]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--replies", type=int, default=4)
    parser.add_argument("--per-request", type=int, default=8, help="prompts in one HTTP request")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
