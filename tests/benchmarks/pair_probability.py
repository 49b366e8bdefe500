"""How well P(A is better) of /v1/compare is calibrated, against the other formulas that were considered.

    python -m tests.benchmarks.pair_probability runs/demo/train/checkpoint runs/demo/label/wildfb/test

All pairs of WildFB rows with different labels; the higher label is the better reply. Log loss and expected calibration
error (10 bins over 0..1, each pair in both orders), no resampling: pairs share rows.
"""

import argparse
import itertools
import math
from collections.abc import Callable

import numpy as np
import pyarrow.dataset as ds

from wildreward.metrics import Array
from wildreward.preference import probability_better, probability_tied
from wildreward.reward_model import RewardModel, Score

Pair = tuple[Score, Score]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("rows", help="directory of WildFB rows")
    args = parser.parse_args()
    model = RewardModel.load(args.checkpoint)
    rows = ds.dataset(args.rows, format="parquet").to_table(columns=["messages", "label"]).to_pylist()
    scored = zip(model.score([row["messages"] for row in rows]), [row["label"] for row in rows], strict=True)
    pairs = [
        (a, b) if label_a > label_b else (b, a)
        for (a, label_a), (b, label_b) in itertools.combinations(scored, 2)
        if label_a != label_b
    ]
    print(f"{len(rows)} rows, {len(pairs)} pairs")
    for name, formula in FORMULAS.items():
        better_N = np.clip([formula(pair) for pair in pairs], 1e-9, 1 - 1e-9)
        print(f"{name:<34} log loss {-np.log(better_N).mean():.4f}  ECE {calibration_error(better_N):.4f}")


def classes_differ(pair: Pair) -> float:
    return probability_better(pair[0].probs or (), pair[1].probs or ())


def half_of_ties(pair: Pair) -> float:
    tied = probability_tied(pair[0].probs or (), pair[1].probs or ())
    return (1 - tied) * classes_differ(pair) + tied / 2


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


FORMULAS: dict[str, Callable[[Pair], float]] = {
    "P(A > B | classes differ)": classes_differ,
    "P(A > B) + P(same class) / 2": half_of_ties,
    "sigmoid(score A - score B)": lambda pair: sigmoid(pair[0].score - pair[1].score),
    "sigmoid(logit A - logit B)": lambda pair: sigmoid((pair[0].logit or 0) - (pair[1].logit or 0)),
}


def calibration_error(better_N: Array, bins: int = 10) -> float:
    p = np.concatenate([better_N, 1 - better_N])
    right = np.concatenate([np.ones_like(better_N), np.zeros_like(better_N)])
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    return float(
        sum(
            (bin_of == k).mean() * abs(p[bin_of == k].mean() - right[bin_of == k].mean())
            for k in range(bins)
            if (bin_of == k).any()
        )
    )


if __name__ == "__main__":
    main()
