"""How far two labellings of the same turns agree: one confusion matrix and what follows from it, with intervals.

The found labels are held against a reference. The bootstrap draws conversations: turns of one are alike.
Shapes: N turns, C categories, K = C * C pairs of categories, U kinds of conversations, G conversations, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wildreward.benchmarks.measure import MeasureOptions
from wildreward.bootstrap import MIN_GROUPS, Estimate, resample_alike
from wildreward.errors import DataError
from wildreward.metrics import Array, Statistic, cohen_kappa, mean, quadratic_kappa, rate_within
from wildreward.scale import LEVELS

DEFAULT_OPTIONS = MeasureOptions()


@dataclass(frozen=True)
class Scale:
    """The categories of a labelling, and whether a near miss is better than a far one."""

    categories: tuple[int, ...]
    ordered: bool


FEEDBACK_LEVELS = Scale(LEVELS, ordered=True)
REFUSAL_VERDICTS = Scale((0, 1, 2), ordered=False)
"""False refusal, justified refusal, not a refusal."""


@dataclass(frozen=True)
class Agreement:
    """Found categories against those of the reference. An estimate of nothing (no such turn) has no value."""

    turns: int
    conversations: int
    accuracy: Estimate
    kappa: Estimate
    """Cohen's, unweighted."""
    quadratic_kappa: Estimate | None
    """None for categories without an order."""
    recall: Mapping[int, Estimate]
    """Of the turns that the reference gives a category, the share found in it."""
    precision: Mapping[int, Estimate]
    """Of the turns found in a category, the share that the reference gives it."""
    confusion: Sequence[Sequence[int]]
    """Rows: the reference's category; columns: the one found."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def agreement(
    reference_N: Array | Sequence[int],
    found_N: Array | Sequence[int],
    conversations_N: Array | Sequence[Any],
    scale: Scale = FEEDBACK_LEVELS,
    options: MeasureOptions = DEFAULT_OPTIONS,
) -> Agreement:
    """Agreement over N turns. Raises DataError where there is no turn, or one of no category.

    Memory: a few words a turn, and one row of K counts for each distinct content of a conversation, however many
    conversations there are.

    >>> made = agreement([1, 3, 3, 5], [1, 3, 5, 5], ["a", "a", "b", "c"])
    >>> made.accuracy.value, made.recall[3].value, made.precision[5].value, made.precision[2].value
    (0.75, 0.5, 0.5, None)
    """
    count = len(scale.categories)
    pairs_N = _places(reference_N, scale.categories) * count + _places(found_N, scale.categories)
    if not len(pairs_N):
        raise DataError("no turn has a label on both sides")
    counts_UK, copies_U = kinds(pairs_N, np.asarray(conversations_N), count * count)
    statistics = _statistics(scale)
    made = {name: statistic for name, (statistic, _) in statistics.items()}
    samples = resample_alike(made, counts_UK, copies_U, options.replicates, options.seed)
    estimates = {}
    for name, (_, within_K) in statistics.items():
        estimate = samples[name].estimate(options.confidence)
        enough = copies_U[counts_UK[:, within_K].any(axis=1)].sum() >= MIN_GROUPS
        estimates[name] = estimate if enough else Estimate(estimate.value)
    return Agreement(
        turns=len(pairs_N),
        conversations=int(copies_U.sum()),
        accuracy=estimates["accuracy"],
        kappa=estimates["kappa"],
        quadratic_kappa=estimates.get("quadratic_kappa"),
        recall={category: estimates[f"recall {category}"] for category in scale.categories},
        precision={category: estimates[f"precision {category}"] for category in scale.categories},
        confusion=(copies_U @ counts_UK).reshape(count, count).tolist(),
    )


def _statistics(scale: Scale) -> dict[str, tuple[Statistic, Array]]:
    """Each statistic over the K pairs of categories, and the pairs it is about."""
    count = len(scale.categories)
    reference_K, found_K = np.repeat(scale.categories, count), np.tile(scale.categories, count)
    every_K, same_K = np.ones(count * count, dtype=bool), reference_K == found_K
    made = {"accuracy": (mean(same_K), every_K), "kappa": (cohen_kappa(reference_K, found_K), every_K)}
    if scale.ordered:
        made["quadratic_kappa"] = (quadratic_kappa(reference_K, found_K), every_K)
    for category in scale.categories:
        for name, within_K in (("recall", reference_K == category), ("precision", found_K == category)):
            made[f"{name} {category}"] = (rate_within(same_K, within_K), within_K)
    return made


def kinds(pairs_N: Array, conversations_N: Array, count: int) -> tuple[Array, Array]:
    """(U, count) how often each pair stands in a conversation of each kind, and (U,) how many conversations are of it.

    Conversations are told apart by a random sum over their pairs, of 64 bits.

    >>> counts, copies = kinds(np.array([0, 1, 0, 1, 1]), np.array([7, 7, 8, 9, 8]), count=2)
    >>> sorted(zip(counts.tolist(), copies.tolist()))
    [([0, 1], 1), ([1, 1], 2)]
    """
    order_N = np.argsort(conversations_N, kind="stable")
    ordered_N, pairs_N = conversations_N[order_N], pairs_N[order_N]
    starts_G = np.flatnonzero(np.r_[True, ordered_N[1:] != ordered_N[:-1]])
    keys_K = np.random.default_rng(0).integers(2**64, size=count, dtype=np.uint64)
    signatures_G = np.add.reduceat(keys_K[pairs_N], starts_G)
    _, first_U, copies_U = np.unique(signatures_G, return_index=True, return_counts=True)
    kind_of_G = np.full(len(starts_G), -1)
    kind_of_G[first_U] = np.arange(len(first_U))
    kind_of_N = np.repeat(kind_of_G, np.diff(np.r_[starts_G, len(pairs_N)]))
    shown_N = kind_of_N >= 0  # the turns of one conversation of each kind stand for those of all
    cells = np.bincount(kind_of_N[shown_N] * count + pairs_N[shown_N], minlength=len(first_U) * count)
    return cells.reshape(len(first_U), count), copies_U


def _places(values_N: Array | Sequence[int], categories: Sequence[int]) -> Array:
    values_N = np.asarray(values_N, dtype=int)
    wrong_N = ~np.isin(values_N, categories)
    if wrong_N.any():
        raise DataError(f"turn {int(wrong_N.argmax())}: found {values_N[wrong_N][0]}; allowed are {list(categories)}")
    return np.searchsorted(np.asarray(categories), values_N)
