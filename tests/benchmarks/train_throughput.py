"""Training a tiny Llama on rows as long as real WildChat turns, against padding them all to 4,096 (WildReward's way).

    python -m tests.benchmarks.train_throughput
    python -m tests.benchmarks.train_throughput --hidden 256 --layers 4 --rounds 1

Same weights, rows, batches, DeepSpeed engine (ZeRO-0) and forward passes of at most 8,192 tokens; only how rows are
laid out differs, and, told apart, the arithmetic. Every batch is a sample of all lengths: the rows are sorted by length
and dealt in turn. Each round runs every way once, on the same batch. One thread, and processor time. Prints a line of
JSON for each way: rows a second (of all rounds), the ratio to padding to 4,096 in the same and in float32 arithmetic,
padding and losses.
"""

import argparse
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tests.wildchat_lengths import wildchat_lengths
from train import engine as deepspeed_engine
from train import packed
from wildreward import packing, zero
from wildreward.batching import MicroBatch, Rows, micro_batches, padding_frac
from wildreward.ordinal import hard_targets, row_losses
from wildreward.pretrained import pad
from wildreward.reward_model import OrdinalModel
from wildreward.settings.train import TrainSettings

MAX_TOKENS, FORWARD_TOKENS, VOCABULARY, PAD = 4096, 8192, 30522, 0


@dataclass(frozen=True)
class Way:
    """How rows become forward passes."""

    name: str
    dtype: str
    split: Callable[[Rows, Rows], list[MicroBatch]]
    width: int | None = None
    """Pad to this; None: to the longest row of the pass."""
    packed: bool = False


def in_order(lengths: Rows, rows: Rows) -> list[MicroBatch]:
    at_once = FORWARD_TOKENS // MAX_TOKENS
    return [MicroBatch(tuple(rows[at : at + at_once].tolist())) for at in range(0, len(rows), at_once)]


def by_length(lengths: Rows, rows: Rows) -> list[MicroBatch]:
    return micro_batches(lengths, rows, 1, FORWARD_TOKENS)[0]


def packs(lengths: Rows, rows: Rows) -> list[MicroBatch]:
    return micro_batches(lengths, rows, 1, FORWARD_TOKENS, packed=True)[0]


WAYS = [
    Way(name, dtype, split, width, is_packed)
    for dtype in ("float32", "bfloat16")
    for name, split, width, is_packed in (
        ("padded to 4,096", in_order, MAX_TOKENS, False),
        ("padded to the longest of a token budget", by_length, None, False),
        ("packed", packs, None, True),
    )
]


class Trainer:
    """One way's model and engine."""

    def __init__(self, way: Way, given: argparse.Namespace) -> None:
        from transformers import AutoModelForSequenceClassification, LlamaConfig

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=given.hidden,
            intermediate_size=given.hidden * 11 // 4,
            num_hidden_layers=given.layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=MAX_TOKENS,
            pad_token_id=PAD,
        )
        config.num_labels = 1
        self.way = way
        settings = TrainSettings(dtype=way.dtype, zero_stage=0, device="cpu", lr=1e-4)
        model = OrdinalModel(AutoModelForSequenceClassification.from_config(config), "coral", [-1.0, 0.0, 1.0])
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        if way.packed:
            packing.prepare(model.backbone, "cpu", getattr(torch, way.dtype))
        self.engine = deepspeed_engine.initialise(model, settings)
        zero.set_learning_rate(self.engine, settings.lr)

    def step(self, lengths: Rows, rows: Rows) -> tuple[float, float]:
        """(seconds, loss) of one optimiser step over `rows`; what is read is a function of the row's number."""
        started, total = time.process_time(), 0.0
        for micro in self.way.split(lengths, rows):
            ids = [tokens_of(row, int(lengths[row])) for row in micro.rows]
            losses_B = self.losses(ids, torch.tensor([1 + row % 4 for row in micro.rows]))
            self.engine.backward(losses_B.sum() / len(rows), scale_wrt_gas=False)
            total += float(losses_B.detach().sum())
        self.engine.step()
        return time.process_time() - started, total / len(rows)

    def losses(self, ids: list[list[int]], labels_B: torch.Tensor) -> torch.Tensor:
        if self.way.width is not None:
            input_ids, mask = pad([*ids, [PAD] * self.way.width], PAD)  # the last row only widens
            mask[:, :] = input_ids != PAD
            logits_BK = self.engine(input_ids=input_ids[:-1], attention_mask=mask[:-1])
        else:
            logits_BK = self.engine(**packed.inputs(ids, self.way.packed, PAD, "cpu"))
        return row_losses("coral", logits_BK, hard_targets(labels_B, 4))

    def padding(self, lengths: Rows, rows: Rows) -> float:
        passes = self.way.split(lengths, rows)
        if self.way.packed:
            return 0.0
        if self.way.width is None:
            return padding_frac(lengths, passes)
        return 1 - float(lengths[rows].sum()) / (self.way.width * len(rows))


def tokens_of(row: int, length: int) -> list[int]:
    return np.random.default_rng(row).integers(1, VOCABULARY, length).tolist()


def main() -> None:
    given = arguments()
    one_process_group()
    torch.set_num_threads(1)
    lengths = wildchat_lengths(MAX_TOKENS)
    batches = dealt(lengths, given.rows)[: given.rounds]
    trainers = [Trainer(way, given) for way in WAYS]
    short = np.argsort(lengths)[:2]
    for trainer in trainers:
        trainer.step(np.minimum(lengths, 64), short)
    took: dict[Way, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for rows in batches:
        for trainer in trainers:
            took[trainer.way].append(trainer.step(lengths, rows))
    report(given, lengths, batches, trainers, took)


def report(given: argparse.Namespace, lengths: Rows, batches: list[Rows], trainers: Any, took: Any) -> None:
    mean = float(np.mean([lengths[rows].mean() for rows in batches]))
    about = {"parameters": trainers[0].parameters, "hidden": given.hidden, "layers": given.layers}
    print(json.dumps({**about, "rows": given.rows, "rounds": given.rounds, "tokens_per_row": round(mean)}))
    rate = {way: given.rows * len(runs) / sum(seconds for seconds, _ in runs) for way, runs in took.items()}
    base = {way.dtype: rate[way] for way in WAYS if way.width is not None}
    for trainer in trainers:
        way = trainer.way
        line = {
            "way": way.name,
            "dtype": way.dtype,
            "rows_per_s": round(rate[way], 3),
            "times_padded_4096": round(rate[way] / base[way.dtype], 2),
            "seconds": [round(seconds, 2) for seconds, _ in took[way]],
            "times_padded_4096_float32": round(rate[way] / base["float32"], 2),
            "padding_frac": round(float(np.mean([trainer.padding(lengths, rows) for rows in batches])), 4),
            "losses": [round(loss, 4) for _, loss in took[way]],
        }
        print(json.dumps(line), flush=True)


def dealt(lengths: Rows, count: int) -> list[Rows]:
    """Batches of `count` rows: the rows in the order of their length, dealt in turn; the middle ones first."""
    parts = len(lengths) // count
    order = np.argsort(lengths, kind="stable")[: parts * count].reshape(count, parts)
    return [order[:, part] for part in sorted(range(parts), key=lambda part: abs(part - parts // 2))]


def one_process_group() -> None:
    """DeepSpeed wants one, even of a single process."""
    os.environ |= {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=0, world_size=1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=12, help="rows of a batch")
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
