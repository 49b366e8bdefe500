"""The judge cache at the size of a large run: time and memory to open it, to find answers, and to keep new ones.

python -m tests.benchmarks.judge_cache --answers 2000000
"""

import argparse
import os
import tempfile
import time

import numpy as np
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pyarrow as pa

from wildreward.judge import cache_segments as segments
from wildreward.judge.cache import FULL_ROWS, CachedAnswer, JudgeCache
from wildreward.judge.cached import FLUSH_ANSWERS

BLOCK = 140
"""Turns of a block of 64 conversations, about."""

BLOCKS = 200

RAW = "[[2]] The user points out that the second step of the explanation is wrong."


def fill(directory: str, answers: int) -> np.ndarray:
    """Full segments of random keys, as long runs leave them; the keys of one in the middle."""
    random = np.random.default_rng(0)
    for _ in range(max(1, answers // FULL_ROWS)):
        keys = random.bytes(FULL_ROWS * segments.KEY_BYTES)
        column = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(segments.KEY_BYTES), FULL_ROWS, [None, pa.py_buffer(keys)]
        )
        constant = {
            "question": "feedback",
            "judge": "model",
            "prompt_version": "1",
            "value": 2,
            "probs": None,
            "raw": RAW,
        }
        constant |= {"attempts": 1, "prompt_tokens": 700, "completion_tokens": 20}
        columns = [
            column
            if name in {"key", "asker"}
            else pa.array([constant[name]], segments.SEGMENT.field(name).type).take(pa.array([0] * FULL_ROWS))
            for name in segments.SEGMENT.names
        ]
        segments.write(directory, pa.table(columns, schema=segments.SEGMENT))
    return np.frombuffer(keys, dtype=f"V{segments.KEY_BYTES}")


def measure(directory: str, answers: int) -> None:
    process = psutil.Process(os.getpid())
    keys = [bytes(key) for key in fill(directory, answers)]
    before, started = process.memory_info().rss, time.perf_counter()
    cache = JudgeCache(directory)
    opened = time.perf_counter() - started
    index = sum(part.heads.nbytes + part.places.nbytes for part in cache._segments.values()) / 2**20
    resident = (process.memory_info().rss - before) / 2**20
    print(f"{len(cache):,} answers in {len(cache._segments)} files: opened in {opened:.2f} s, index {index:.0f} MiB")
    print(f"process grew by {resident:.0f} MiB, buffers of reading included")
    for what, wanted in (("hits", keys), ("misses", [bytes(reversed(key)) for key in keys])):
        started = time.perf_counter()
        found = sum(len(cache.get_many(wanted[n * BLOCK : (n + 1) * BLOCK])) for n in range(BLOCKS))
        seconds = time.perf_counter() - started
        rate, block_ms = BLOCKS * BLOCK / seconds, 1000 * seconds / BLOCKS
        print(f"{what}: {rate:,.0f} a second, {found:,} found, {block_ms:.2f} ms a block")
    keep(cache, keys)


def keep(cache: JudgeCache, keys: list[bytes]) -> None:
    answer = CachedAnswer("feedback", 2, None, RAW, "model", "1", 1, 700, 20, keys[0])
    started = time.perf_counter()
    for place, key in enumerate(keys):
        cache.put(bytes(reversed(key)), answer)
        if (place + 1) % FLUSH_ANSWERS == 0:
            cache.flush()
    seconds = time.perf_counter() - started
    print(f"kept: {len(keys) / seconds:,.0f} a second, written and merged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=2_000_000)
    with tempfile.TemporaryDirectory() as directory:
        measure(directory, parser.parse_args().answers)


if __name__ == "__main__":
    main()
