"""Requests per second and latency of the scorer against a plain FastAPI worker, alone and behind a round-robin router.

    python -m tests.benchmarks.serve_throughput --texts ../shared/data/wildchat --rounds 1 --runs runs/serve.jsonl

One MiniLM-sized checkpoint with three labels (random head, logits spread over the scale), 64 clients in a process of
their own, one reply a request (`--per-request` for more), closed loop. In each round every system is started, warmed,
loaded and stopped in turn: about 90 s a round. With --runs the rounds of several commands are kept in a file and the
table is over all of them. Prints the ratios to both baselines, and the largest difference of a score from fp32 asked
directly. Without --texts the replies are random words with a lognormal length (median 130 words).
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for two benchmarks

ROOT = Path(__file__).parents[2]
CORES = os.cpu_count() or 1
HEAD_SCALE = 30
"""Over a fresh head's weights: scores then spread over the scale as a trained head's do, and so do rounding errors."""
MAX_TOKENS = 512  # of MiniLM; longer texts are cut at different ends by the two kinds of server


@dataclass
class Load:
    """What 64 clients saw in one run."""

    requests: int
    seconds: float
    latencies_ms: list[float]
    cpu_s: dict[str, float] = field(default_factory=dict)
    """CPU seconds of the server's processes; beside the clock, as it hardly depends on what else the machine does."""
    moved: float = 0.0
    """Largest difference of a score from fp32 asked directly."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with this process
    args = _arguments()
    if args.client is not None:
        print(json.dumps(asyncio.run(_load(args.client, json.loads(sys.stdin.read()), args))))
        return
    texts = texts_of(args.texts)
    words = sorted(len(text.split()) for text in texts)
    print(f"{len(texts)} texts, words p50 {words[len(words) // 2]}, p95 {words[int(len(words) * 0.95)]}; {CORES} cores")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = checkpoint_in(Path(folder))
        loads = []
        for round_number, name in itertools.product(range(args.rounds), args.systems):
            loads.append((name, _measured(name, checkpoint, texts, args)))
            print(f"round {round_number + 1} {name:<12} {loads[-1][1].per_second:7.1f} requests/s", flush=True)
    _print_table(_with_earlier(loads, args.runs))


def _measured(name: str, checkpoint: Path, texts: list[str], args: argparse.Namespace) -> Load:
    with _system(name, checkpoint, args) as url:
        _run_clients(url, texts, args, seconds=args.warm_seconds)
        before = _cpu_s()
        load = _run_clients(url, texts, args, args.seconds)
        cpu_s = {name: round(seconds - before.get(name, 0.0), 2) for name, seconds in _cpu_s().items()}
        return replace(load, cpu_s=cpu_s, moved=_largest_difference(url, checkpoint, texts[:64]))


def _with_earlier(loads: list[tuple[str, Load]], kept: str | None) -> dict[str, list[Load]]:
    """Loads by system; with a file, those of earlier commands that it holds too."""
    if kept is not None:
        Path(kept).parent.mkdir(parents=True, exist_ok=True)
        with open(kept, "a+") as file:
            file.writelines(json.dumps([name, asdict(load)]) + "\n" for name, load in loads)
            file.seek(0)
            loads = [(name, Load(**load)) for name, load in map(json.loads, file)]
    return {name: [load for other, load in loads if other == name] for name, _ in loads}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", help="directory of WildChat-schema parquet files whose replies are sent")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warm-seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--per-request", type=int, default=1)
    parser.add_argument("--runs", help="file that keeps the rounds, for a table over several commands")
    parser.add_argument("--settings", nargs="*", default=[], help="further ones of `wildreward serve`, as NAME=VALUE")
    parser.add_argument("--bulk", type=int, default=0, help="one more client, whose requests hold so many texts")
    names = ["worker", "router", "ours-fp32", "ours-bf16"]
    parser.add_argument("--systems", nargs="+", default=names, choices=[*names, "serve-batch"])
    parser.add_argument("--client", help=argparse.SUPPRESS)
    return parser.parse_args()


def texts_of(folder: str | None) -> list[str]:
    if folder is None:
        rng = random.Random(0)
        vocabulary = ["the", "list", "python", "answer", "house", "number", "river", "is", "of", "wrong"]
        lengths = [max(3, int(rng.lognormvariate(math.log(130), 1.0))) for _ in range(512)]
        return [" ".join(rng.choices(vocabulary, k=length)) for length in lengths]
    import pyarrow.parquet as pq

    conversations = [row for path in sorted(Path(folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    messages = [message for row in conversations for message in row["conversation"]]
    replies = [m["content"] for m in messages if m["role"] == "assistant" and m["content"]]
    random.Random(0).shuffle(replies)
    return replies[:512]


def checkpoint_in(folder: Path) -> Path:
    import torch

    from wildreward.reward_model import new_model, save_checkpoint
    from wildreward.template import InputTemplate

    torch.manual_seed(0)
    model, tokenizer = new_model("minilm", "independent")
    head: Any = model.backbone
    with torch.no_grad():
        head.classifier.weight.mul_(HEAD_SCALE)
    save_checkpoint(folder / "minilm", model, tokenizer, InputTemplate(max_tokens=MAX_TOKENS))
    return folder / "minilm"


def _cpu_s() -> dict[str, float]:
    """CPU seconds by kind of process, of every one this started that still runs: the servers, as the clients ended."""
    seconds: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times, name = process.cpu_times(), _kind(process.cmdline() or [process.name()])
            seconds[name] = seconds.get(name, 0.0) + times.user + times.system
    return seconds


def _kind(command: list[str]) -> str:
    """Ray names its workers after their actor; the baselines after what they are; the rest is Ray's own processes."""
    line = " ".join(command)
    names = {"ServeReplica": "replica", "ProxyActor": "proxy", "serve_baselines worker": "worker"}
    names |= {"serve_baselines router": "router"}
    return next((name for part, name in names.items() if part in line), "ray")


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
            module = "tests.benchmarks.serve_batch_app" if name == "serve-batch" else "serve"
            dtype = "bfloat16" if name.endswith("bf16") else "float32"
            yield stack.enter_context(_ours(module, checkpoint, dtype, args))


@contextlib.contextmanager
def _baseline(*arguments: str) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "tests.benchmarks.serve_baselines", *arguments, "--port", str(port)]
    with _process(command):
        yield _wait(f"http://127.0.0.1:{port}", "/docs")


@contextlib.contextmanager
def _ours(module: str, checkpoint: Path, dtype: str, args: argparse.Namespace) -> Iterator[str]:
    port = _free_port()
    settings = {"checkpoint": checkpoint, "port": port, "dtype": dtype, "address": "local", "threads": CORES}
    settings |= dict(setting.split("=", 1) for setting in args.settings)
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with _process([sys.executable, "-m", module, *flags]):
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
    """What the clients saw; the one with bulky requests, if any, runs beside them and is not counted."""
    with contextlib.ExitStack() as stack:
        if args.bulk:
            stack.enter_context(_clients(url, texts, seconds, clients=1, per_request=args.bulk))
        process = stack.enter_context(_clients(url, texts, seconds, args.clients, args.per_request))
        assert process.stdout is not None
        return Load(**json.loads(process.stdout.read()))


@contextlib.contextmanager
def _clients(
    url: str, texts: list[str], seconds: float, clients: int, per_request: int
) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.benchmarks.serve_throughput", "--client", url, "--seconds", str(seconds)]
    command += ["--clients", str(clients), "--per-request", str(per_request)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(texts))
        process.stdin.close()
        yield process
        assert process.stdout is not None
        process.stdout.read()  # of the one that is not counted: it must not find its pipe closed


async def _load(url: str, texts: list[str], args: argparse.Namespace) -> dict[str, Any]:
    latencies: list[float] = []
    bodies = _bodies(texts, args.per_request)
    turn = itertools.cycle(bodies)
    headers = {"Content-Type": "application/json"}
    started = time.perf_counter()

    async def client(http: aiohttp.ClientSession) -> None:
        while time.perf_counter() - started < args.seconds:
            body = next(turn)
            sent = time.perf_counter()
            async with http.post(f"{url}/get_reward", data=body, headers=headers) as answer:
                answer.raise_for_status()
                assert len(json.loads(await answer.read())["rewards"]) == args.per_request
            latencies.append(1000 * (time.perf_counter() - sent))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*(client(http) for _ in range(args.clients)))
    return {"requests": len(latencies), "seconds": time.perf_counter() - started, "latencies_ms": latencies}


def _bodies(texts: list[str], per_request: int) -> list[bytes]:
    """Encoded before the clock starts, so that the clients take as little as they can from the servers' cores."""
    starts = range(0, len(texts) - per_request + 1, per_request)
    return [json.dumps({"query": texts[start : start + per_request]}).encode() for start in starts]


def _print_table(runs: dict[str, list[Load]]) -> None:
    rates = {name: float(np.median([load.per_second for load in loads])) for name, loads in runs.items()}
    baselines = [name for name in ("worker", "router") if name in rates]
    ratio_names = "".join(f" {f'x {name}':>9}" for name in baselines)
    columns = f"{'req/s':>7} {'p50 ms':>7} {'p95 ms':>7} {'p99 ms':>7} {'CPU ms/req':>10} {'moved':>8}"
    print(f"\n{'system':<12} {columns}{ratio_names}")
    for name, loads in runs.items():
        p50, p95, p99 = np.percentile([ms for load in loads for ms in load.latencies_ms], [50, 95, 99])
        requests = sum(load.requests for load in loads)
        kinds = sorted({kind for load in loads for kind in load.cpu_s})
        cpu_ms = {kind: 1000 * sum(load.cpu_s.get(kind, 0) for load in loads) / requests for kind in kinds}
        parts = ", ".join(f"{kind} {ms:.1f}" for kind, ms in cpu_ms.items())
        moved = max(load.moved for load in loads)
        ratios = "".join(f" {rates[name] / rates[b]:9.2f}" for b in baselines)
        measured = f"{rates[name]:7.1f} {p50:7.0f} {p95:7.0f} {p99:7.0f} {sum(cpu_ms.values()):10.1f} {moved:8.1e}"
        print(f"{name:<12} {measured}{ratios}  {parts}")


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
