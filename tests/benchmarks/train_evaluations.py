"""A small training with many evaluations: our poll interval of Ray Train's controller against Ray's own.

    python -m tests.benchmarks.train_evaluations --output /tmp/train_evaluations --rounds 2

The same run of a tiny BERT, by turns: `ours` asks the workers every 0.25 s, `ray's` every 2 s. Prints the seconds of
the whole command.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from tests.checkpoints import tiny_backbone
from tests.train.conftest import wildfb_rows
from train.program import POLL_INTERVAL_S
from wildreward.schema import WILDFB, table

INTERVALS_S = {"ray's": "2", "ours": POLL_INTERVAL_S}


def main() -> None:
    given = arguments()
    config = material(given)
    print(json.dumps(vars(given) | {"cores": os.cpu_count()}), flush=True)
    rounds = []
    for number in range(given.rounds):
        order = list(INTERVALS_S) if number % 2 == 0 else list(INTERVALS_S)[::-1]
        rounds.append({way: one(config, Path(given.output) / "run", INTERVALS_S[way]) for way in order})
        print(json.dumps({"round": number, **rounds[-1]}), flush=True)
    ratios = [round(found["ray's"] / found["ours"], 2) for found in rounds]
    print(f"ray's / ours: median {statistics.median(ratios):.2f} of {ratios}")


def material(given: argparse.Namespace) -> Path:
    """Rows, a backbone and a config file under the output; the file."""
    root = Path(given.output)
    rows = root / "wildfb" / "train"
    rows.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(wildfb_rows(80), WILDFB), rows / "part-0.parquet", row_group_size=16)
    values = {
        "input": [str(root)],
        "backbone": str(tiny_backbone(root / "backbone")),
        "max_tokens": 64,
        "batch_rows": 16,
        "max_steps": given.steps,
        "evaluate_every_steps": given.evaluate_every,
        "threads": 1,
        "log_every_steps": 1,
        "device": "cpu",
        "address": "local",
    }
    config = root / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    return config


def one(config: Path, output: Path, interval_s: str) -> float:
    """Seconds of the command."""
    shutil.rmtree(output, ignore_errors=True)
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "train", "--config", str(config), "--output", str(output)],
        env=os.environ | {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": interval_s},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return round(time.monotonic() - begun, 2)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, help="directory for the material and the runs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--evaluate-every", type=int, default=4, help="steps")
    return parser.parse_args()


if __name__ == "__main__":
    main()
