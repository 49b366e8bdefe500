"""What the scorer does when a replica is killed under load, and when ten times what it can serve is asked of it.

    python -m tests.benchmarks.serve_drills --texts ../shared/data/wildchat --replicas 2 --seconds 30

A MiniLM-sized checkpoint (random head), one real reply a request. First 64 clients of ours in a closed loop: what can
be served. Then the same while one replica is SIGKILLed: requests lost or wrong, longest wait, time to full speed. Then
requests at ten times that rate, whether or not the ones before were answered (open loop, no retries): how fast the
503s are, memory of replicas and proxy. Then the first again: full speed?
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for the benchmarks

from serve.calls import Retry
from serve.client import AsyncHttpClient
from tests.benchmarks.serve_throughput import CORES, ROOT, _free_port, _process, _wait, checkpoint_in, texts_of

CLIENTS = 64
TOLERANCE = 1e-4
KINDS = {"proxy": "ProxyActor", "replicas": "ServeReplica"}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends with this process
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", help="directory of WildChat-schema parquet files whose replies are sent")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30, help="of the overload; the other parts take half")
    parser.add_argument("--times", type=float, default=10, help="the load, in multiples of what can be served")
    parser.add_argument("--places", type=int, default=64, help="max_ongoing_requests of a replica")
    parser.add_argument("--flood", nargs=3, metavar=("PORT", "RATE", "SECONDS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.flood:
        port, rate, seconds = args.flood
        print(json.dumps(asyncio.run(_flood(int(port), float(rate), float(seconds), json.loads(sys.stdin.read())))))
        return
    texts = texts_of(args.texts)[:256]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, port = checkpoint_in(Path(folder)), _free_port()
        with _process(_command(checkpoint, port, args)):
            _drill(_wait(f"http://127.0.0.1:{port}", "/readyz"), port, texts, checkpoint, args)


def _command(checkpoint: Path, port: int, args: argparse.Namespace) -> list[str]:
    flags = {
        "--checkpoint": checkpoint, "--port": port, "--address": "local", "--batch-tokens": 2048,
        "--min-replicas": args.replicas, "--max-replicas": args.replicas, "--threads": max(1, CORES // args.replicas),
        "--max-ongoing-requests": args.places,
    }  # fmt: skip
    return [sys.executable, "-m", "serve", *(str(part) for pair in flags.items() for part in pair)]


def _drill(url: str, port: int, texts: list[str], checkpoint: Path, args: argparse.Namespace) -> None:
    direct = _direct(checkpoint, texts)
    seconds = args.seconds / 2
    asyncio.run(_closed(url, texts, direct, 3, None))  # warm
    before = asyncio.run(_closed(url, texts, direct, seconds, None))
    print(f"served: {before.rate:.1f} requests/s with {CLIENTS} clients, p99 {before.percentile(99):.2f} s", flush=True)
    killed = asyncio.run(_closed(url, texts, direct, seconds + 15, seconds / 3))
    killed.tell(before.rate)
    sizes = {"before": _sizes()}
    rate = args.times * before.rate
    flood = [sys.executable, "-m", "tests.benchmarks.serve_drills", "--flood", str(port), str(rate), str(args.seconds)]
    during = []
    with tempfile.TemporaryFile("w+") as answer:  # not a pipe: it would fill up, and nobody reads it before the end
        process = subprocess.Popen(flood, cwd=ROOT, stdin=subprocess.PIPE, stdout=answer, text=True)
        assert process.stdin is not None
        process.stdin.write(json.dumps(texts))
        process.stdin.close()
        kinds = {name: _pids(kind) for name, kind in KINDS.items()}  # to look for them again costs a tenth of a second
        while process.poll() is None:
            during.append({name: sum(_rss_mb(pid) for pid in pids) for name, pids in kinds.items()})
            time.sleep(0.5)
        answer.seek(0)
        _tell_flood(json.load(answer), rate)
    sizes |= {"most during": max(during, key=lambda found: sum(found.values())), "after": _sizes()}
    for when, found in sizes.items():
        print(f"  memory {when}: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in sorted(found.items())))
    after = asyncio.run(_closed(url, texts, direct, seconds, None))
    print(f"afterwards: {after.rate:.1f} requests/s, {after.rate / before.rate:.2f} of before")


def _direct(checkpoint: Path, texts: list[str]) -> list[float]:
    from wildreward.reward_model import RewardModel

    model = RewardModel.load(checkpoint)
    encoded = [model.template.encode_text(text, model.tokenizer) for text in texts]
    return [score.score for score in model.score_encoded(encoded, 2048)]


class Run:
    """A closed loop: when each request was answered and how long it took, in seconds since the start."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.answers, self.wrong, self.failed = seconds, list[tuple[float, float]](), 0, list[str]()
        self.killed_at = self.back_at = 0.0

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds

    def percentile(self, which: float) -> float:
        return float(np.percentile([took for _, took in self.answers], which))

    def tell(self, full_rate: float) -> None:
        counts = Counter(int(at) for at, _ in self.answers)
        later = range(int(self.killed_at) + 1, int(self.seconds))
        dips = [second for second in later if counts[second] < 0.8 * full_rate]
        longest = max(took for _, took in self.answers)
        print(
            f"SIGKILL of a replica: {len(self.answers)} answered, {len(self.failed)} lost, {self.wrong} wrong; the "
            f"slowest took {longest:.2f} s; a new replica after {self.back_at - self.killed_at:.1f} s; "
            f"below 80 % of full speed in {len(dips)} one-second spans, the last "
            f"{max(dips, default=int(self.killed_at)) + 1 - self.killed_at:.0f} s after the kill",
            flush=True,
        )


async def _closed(url: str, texts: list[str], direct: list[float], seconds: float, kill_at: float | None) -> Run:
    """64 clients of ours, each with its next request when it has its answer; retried as the client does."""
    run, started, turn = Run(seconds), time.perf_counter(), iter(range(10**9))

    async def client(scorer: AsyncHttpClient) -> None:
        while time.perf_counter() - started < seconds:
            number = next(turn) % len(texts)
            sent = time.perf_counter()
            try:
                [reward] = await scorer.rewards([texts[number]])
            except Exception as error:  # noqa: BLE001 whatever it is, this request is lost, and that is the finding
                run.failed.append(repr(error))
                continue
            run.answers.append((time.perf_counter() - started, time.perf_counter() - sent))
            run.wrong += abs(reward - direct[number]) > TOLERANCE

    async def kill() -> None:
        if kill_at is None:
            return
        await asyncio.sleep(kill_at)
        before = _pids("ServeReplica")
        os.kill(before[0], signal.SIGKILL)
        run.killed_at = time.perf_counter() - started
        while len(set(_pids("ServeReplica")) - {before[0]}) < len(before):
            await asyncio.sleep(0.1)
        run.back_at = time.perf_counter() - started

    retry = Retry(attempts=20)
    async with AsyncHttpClient(url, retry=retry) as scorer:
        await asyncio.gather(kill(), *(client(scorer) for _ in range(CLIENTS)))
    return run


def _pids(kind: str) -> list[int]:
    children = [child.pid for child in psutil.Process().children(recursive=True)]
    return sorted(pid for pid in children if kind in " ".join(_cmdline(pid)))


def _cmdline(pid: int) -> list[str]:
    try:
        return list(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return []


def _sizes() -> dict[str, float]:
    """Resident megabytes of the proxy and of all replicas."""
    return {name: sum(_rss_mb(pid) for pid in _pids(kind)) for name, kind in KINDS.items()}


def _rss_mb(pid: int) -> float:
    try:
        return float(psutil.Process(pid).memory_info().rss) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


async def _flood(port: int, rate: float, seconds: float, texts: list[str]) -> dict[str, Any]:
    """`rate` requests a second on kept connections, as cheaply as can be: this shares the machine with the server."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    took: dict[int, list[float]] = {}
    requests = [_request(text) for text in texts]

    async def one(number: int) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        sent = time.perf_counter()
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le")
        )
        await reader.readexactly(length)
        took.setdefault(int(head.split(b" ", 2)[1]), []).append(time.perf_counter() - sent)
        idle.append((reader, writer))

    started, tasks, lag_s, number = time.perf_counter(), set[asyncio.Task[None]](), 0.0, 0
    while (now := time.perf_counter() - started) < seconds:
        while number < rate * now:
            task = asyncio.create_task(one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.sleep(0.002)
        lag_s = max(lag_s, time.perf_counter() - started - now - 0.002)
    lost = [result for result in await asyncio.gather(*tasks, return_exceptions=True) if result is not None]
    return {"took": took, "lost": len(lost), "sent": number, "lag_s": lag_s, "seconds": seconds}


def _request(text: str) -> bytes:
    body = json.dumps({"query": [text]}).encode()
    head = (
        f"POST /get_reward HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _tell_flood(found: dict[str, Any], rate: float) -> None:
    print(
        f"overload: {found['sent'] / found['seconds']:.0f} requests/s sent of {rate:.0f} meant, for "
        f"{found['seconds']:.0f} s; {found['lost']} without an answer; the sender itself was late by at most "
        f"{1000 * found['lag_s']:.0f} ms"
    )
    for status, seconds in sorted(found["took"].items()):
        p50, p95, p99 = np.percentile(seconds, [50, 95, 99]) * 1000
        print(f"  {status}: {len(seconds)}, p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
