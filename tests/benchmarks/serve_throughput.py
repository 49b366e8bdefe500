"""Requests per second and latency of the scorer against a plain FastAPI worker, alone and behind a round-robin router.

    python -m tests.benchmarks.serve_throughput --texts ../shared/data/wildchat --rounds 3 --seconds 15

One MiniLM-sized checkpoint with three labels (random head), 64 clients in a process of their own, one reply a request
(`--per-request` for more), closed loop. In each round every system is started, warmed, loaded and stopped in turn.
Prints a table, the ratios to both baselines, and the largest difference of a score from fp32 asked directly. Without
--texts the replies are random words with a lognormal length (median 130 words).
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for two benchmarks

ROOT = Path(__file__).parents[2]
CORES = os.cpu_count() or 1
MAX_TOKENS = 512  # of MiniLM; longer texts are cut at different ends by the two kinds of server


@dataclass
class Load:
    """What 64 clients saw in one run."""

    requests: int
    seconds: float
    latencies_ms: list[float]
    cpu_s: float = 0.0
    """CPU seconds of the server's processes; beside the clock, as it hardly depends on what else the machine does."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with this process
    args = _arguments()
    if args.client is not None:
        print(json.dumps(asyncio.run(_load(args.client, json.loads(sys.stdin.read()), args))))
        return
    texts = _texts(args.texts)
    words = sorted(len(text.split()) for text in texts)
    print(f"{len(texts)} texts, words p50 {words[len(words) // 2]}, p95 {words[int(len(words) * 0.95)]}; {CORES} cores")
    runs: dict[str, list[Load]] = {name: [] for name in args.systems}
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(Path(folder))
        for round_number, name in itertools.product(range(args.rounds), args.systems):
            with _system(name, checkpoint, args) as url:
                _run_clients(url, texts, args, seconds=3)  # warm
                before = _cpu_s()
                load = _run_clients(url, texts, args, args.seconds)
                runs[name].append(replace(load, cpu_s=_cpu_s() - before))
                differences[name] = _largest_difference(url, checkpoint, texts[:64])
            print(f"round {round_number + 1} {name:<12} {runs[name][-1].per_second:7.1f} requests/s", flush=True)
    _print_table(runs)
    for name, difference in differences.items():
        print(f"{name}: scores differ from fp32 asked directly by at most {difference:.1e}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", help="directory of WildChat-schema parquet files whose replies are sent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--per-request", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--replicas", type=int, default=1)
    names = ["worker", "router", "ours-fp32", "ours-bf16"]
    parser.add_argument("--systems", nargs="+", default=names, choices=names)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    return parser.parse_args()


def _texts(folder: str | None) -> list[str]:
    if folder is None:
        rng = random.Random(0)
        vocabulary = [
            "the",
            "list",
            "python",
            "answer",
            "thanks",
            "house",
            "number",
            "river",
            "is",
            "of",
            "and",
            "wrong",
        ]
        lengths = [max(3, int(rng.lognormvariate(math.log(130), 1.0))) for _ in range(512)]
        return [" ".join(rng.choices(vocabulary, k=length)) for length in lengths]
    import pyarrow.parquet as pq

    conversations = [row for path in sorted(Path(folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    messages = [message for row in conversations for message in row["conversation"]]
    replies = [m["content"] for m in messages if m["role"] == "assistant" and m["content"]]
    random.Random(0).shuffle(replies)
    return replies[:512]


def _checkpoint(folder: Path) -> Path:
    import torch

    from wildreward.reward_model import new_model, save_checkpoint
    from wildreward.template import InputTemplate

    torch.manual_seed(0)
    model, tokenizer = new_model("minilm", "independent")
    save_checkpoint(folder / "minilm", model, tokenizer, InputTemplate(max_tokens=MAX_TOKENS))
    return folder / "minilm"


def _cpu_s() -> float:
    """Of every process this one started and that still runs: the servers, as the clients have ended."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


@contextlib.contextmanager
def _system(name: str, checkpoint: Path, args: argparse.Namespace) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        if name == "worker":
            yield stack.enter_context(_baseline("worker", "--checkpoint", str(checkpoint), "--threads", str(CORES)))
        elif name == "router":
            one = ("worker", "--checkpoint", str(checkpoint), "--threads", "1")
            backends = [stack.enter_context(_baseline(*one)) for _ in range(CORES)]
            yield stack.enter_context(_baseline("router", "--backend", *backends))
        else:
            yield stack.enter_context(_ours(checkpoint, "bfloat16" if name.endswith("bf16") else "float32", args))


@contextlib.contextmanager
def _baseline(*arguments: str) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "tests.benchmarks.serve_baselines", *arguments, "--port", str(port)]
    with _process(command):
        yield _wait(f"http://127.0.0.1:{port}", "/docs")


@contextlib.contextmanager
def _ours(checkpoint: Path, dtype: str, args: argparse.Namespace) -> Iterator[str]:
    port = _free_port()
    settings = {
        "--checkpoint": checkpoint,
        "--port": port,
        "--dtype": dtype,
        "--address": "local",
        "--batch-tokens": args.batch_tokens,
        "--min-replicas": args.replicas,
        "--max-replicas": args.replicas,
        "--threads": max(1, CORES // args.replicas),
    }
    flags = [str(part) for pair in settings.items() for part in pair]
    with _process([sys.executable, "-m", "serve", *flags]):
        yield _wait(f"http://127.0.0.1:{port}", "/readyz")


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[None]:
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, stdout=null, stderr=null, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, path: str) -> str:
    import httpx2

    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(url + path, timeout=5).status_code == 200:
                return url
        time.sleep(0.2)
    raise TimeoutError(f"{url} did not start")


def _run_clients(url: str, texts: list[str], args: argparse.Namespace, seconds: float) -> Load:
    command = [sys.executable, "-m", "tests.benchmarks.serve_throughput", "--client", url, "--seconds", str(seconds)]
    command += ["--clients", str(args.clients), "--per-request", str(args.per_request)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True, cwd=ROOT)
    return Load(**json.loads(done.stdout))


async def _load(url: str, texts: list[str], args: argparse.Namespace) -> dict[str, Any]:
    latencies: list[float] = []
    started = time.perf_counter()
    turn = iter(range(10**9))

    async def client(http: aiohttp.ClientSession) -> None:
        while time.perf_counter() - started < args.seconds:
            first = next(turn) * args.per_request
            query = [texts[(first + i) % len(texts)] for i in range(args.per_request)]
            sent = time.perf_counter()
            async with http.post(f"{url}/get_reward", json={"query": query}) as answer:
                answer.raise_for_status()
                assert len((await answer.json())["rewards"]) == args.per_request
            latencies.append(1000 * (time.perf_counter() - sent))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*(client(http) for _ in range(args.clients)))
    return {"requests": len(latencies), "seconds": time.perf_counter() - started, "latencies_ms": latencies}


def _print_table(runs: dict[str, list[Load]]) -> None:
    rates = {name: float(np.median([load.per_second for load in loads])) for name, loads in runs.items()}
    baselines = [name for name in ("worker", "router") if name in rates]
    ratio_names = "".join(f" {f'x {name}':>9}" for name in baselines)
    print(f"\n{'system':<12} {'req/s':>7} {'p50 ms':>7} {'p95 ms':>7} {'p99 ms':>7} {'CPU ms/req':>10}{ratio_names}")
    for name, loads in runs.items():
        p50, p95, p99 = np.percentile([ms for load in loads for ms in load.latencies_ms], [50, 95, 99])
        cpu_ms = 1000 * sum(load.cpu_s for load in loads) / sum(load.requests for load in loads)
        ratios = "".join(f" {rates[name] / rates[b]:9.2f}" for b in baselines)
        print(f"{name:<12} {rates[name]:7.1f} {p50:7.0f} {p95:7.0f} {p99:7.0f} {cpu_ms:10.1f}{ratios}")


def _largest_difference(url: str, checkpoint: Path, texts: list[str]) -> float:
    import httpx2

    from wildreward.reward_model import RewardModel

    model = RewardModel.load(checkpoint)
    short = [text for text in texts if len(model.tokenizer(text, verbose=False)["input_ids"]) <= MAX_TOKENS]
    direct = [s.score for s in model.score_encoded([model.template.encode_text(t, model.tokenizer) for t in short])]
    got = httpx2.post(f"{url}/get_reward", json={"query": short}, timeout=120).json()["rewards"]
    return float(np.abs(np.subtract(got, direct)).max())


if __name__ == "__main__":
    main()
