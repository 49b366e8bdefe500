"""What each step of the fast path gives on one core, in tokens per CPU second, and how far it moves a score.

    python -m tests.benchmarks.serve_steps --texts ../shared/data/wildchat

The checkpoint, the texts and the token limit are those of serve_throughput. About 70 CPU seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.serve_throughput import checkpoint_in, texts_of
from wildreward import cpu_bert
from wildreward.fast_reward_model import FastRewardModel
from wildreward.packed_linear import pack_linears
from wildreward.reward_model import RewardModel
from wildreward.template import Encoded

TEXTS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", help="directory of WildChat-schema parquet files whose replies are scored")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = checkpoint_in(Path(folder))
        plain = RewardModel.load(checkpoint)
        items = [plain.template.encode_text(text, plain.tokenizer) for text in texts_of(args.texts)[:TEXTS]]
        expected = scores_of(plain, items, 1)
        for dtype in ("float32", "bfloat16"):
            for name, run in steps(checkpoint, dtype, items).items():
                measure(f"{dtype} {name}", run, items, expected)


def steps(checkpoint: Path, dtype: str, items: Sequence[Encoded]) -> dict[str, Callable[[], list[float]]]:
    plain = RewardModel.load(checkpoint, dtype=dtype)
    packed = RewardModel.load(checkpoint, dtype=dtype)
    backbone: Any = packed.model.backbone
    pack_linears(backbone.bert)
    fast = FastRewardModel.load(checkpoint, dtype=dtype)
    return {
        "plain, text by text": lambda: scores_of(plain, items, 1),
        "plain, padded to 4096 tokens": lambda: scores_of(plain, items, 4096),
        "packed linear layers": lambda: scores_of(packed, items, 1),
        "+ fused, last layer's first token": lambda: without_convolutions(lambda: scores_of(fast, items, 1)),
        "+ attention of long texts as convolutions": lambda: scores_of(fast, items, 1),
        "+ batches of 1024 without padding": lambda: scores_of(fast, items, 1024),
    }


def without_convolutions(run: Callable[[], list[float]]) -> list[float]:
    long = cpu_bert.LONG
    cpu_bert.LONG = 10**9
    try:
        return run()
    finally:
        cpu_bert.LONG = long


def scores_of(model: RewardModel, items: Sequence[Encoded], batch_tokens: int) -> list[float]:
    return [score.score for score in model.score_encoded(items, batch_tokens)]


def measure(name: str, run: Callable[[], list[float]], items: Sequence[Encoded], expected: Sequence[float]) -> None:
    run()
    started = time.process_time()
    scores = run()
    rate = sum(len(item.input_ids) for item in items) / (time.process_time() - started)
    moved = max(abs(a - b) for a, b in zip(scores, expected, strict=True))
    print(f"{name:<44} {rate:7.0f} tokens/CPU s, a score moved by at most {moved:.1e}", flush=True)


if __name__ == "__main__":
    main()
