"""Which rows go into which batch: length-bucketed, the same number of micro-batches on every worker, a pure function of
the seed, so that a resumed run continues at the exact micro-batch.

A batch is one optimiser step over all workers; a micro-batch is one forward pass of one worker.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class MicroBatch:
    """Row numbers of one forward pass. A filler repeats a row so that all workers take part; it counts nothing."""

    rows: tuple[int, ...]
    filler: bool = False


def steps_per_epoch(num_rows: int, batch_rows: int) -> int:
    return math.ceil(num_rows / batch_rows)


def batch_of_step(lengths: Rows, step: int, batch_rows: int, bucket_batches: int, seed: int) -> Rows:
    """Row numbers of optimiser step `step` (0-based, counted over epochs)."""
    epoch, index = divmod(step, steps_per_epoch(len(lengths), batch_rows))
    return epoch_batches(lengths, batch_rows, bucket_batches, seed, epoch)[index]


def epoch_batches(lengths: Rows, batch_rows: int, bucket_batches: int, seed: int, epoch: int) -> list[Rows]:
    """Every row once, in batches whose sizes differ by at most one.

    Rows are shuffled, sorted by length within windows of `bucket_batches` batches, cut, and the batches shuffled.

    >>> lengths = np.array([9, 1, 8, 2, 7, 3, 6, 4])
    >>> sorted(sorted(lengths[rows].tolist()) for rows in epoch_batches(lengths, 4, bucket_batches=2, seed=0, epoch=0))
    [[1, 2, 3, 4], [6, 7, 8, 9]]
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    steps = steps_per_epoch(len(lengths), batch_rows)
    batches: list[Rows] = []
    for window in np.array_split(np.arange(steps), math.ceil(steps / bucket_batches)):
        low, high = _cut(len(lengths), steps, window[0]), _cut(len(lengths), steps, window[-1] + 1)
        rows = order[low:high]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += np.array_split(rows, len(window))
    return [batches[i] for i in rng.permutation(steps)]


def _cut(total: int, parts: int, index: int) -> int:
    return total * int(index) // parts


def micro_batches(lengths: Rows, rows: Rows, workers: int, max_tokens: int) -> list[list[MicroBatch]]:
    """For each worker its micro-batches of one batch: equally many, none over `max_tokens` with padding.

    >>> lengths = np.array([10, 90, 12, 95, 11])
    >>> micro_batches(lengths, np.arange(5), workers=2, max_tokens=200)
    [[MicroBatch(rows=(3, 1), filler=False)], [MicroBatch(rows=(2, 4, 0), filler=False)]]
    """
    longest_first = rows[np.argsort(-lengths[rows], kind="stable")]
    groups: list[list[int]] = []
    room = 0
    for row in longest_first.tolist():
        if room < 1:
            groups.append([])
            room = max(1, max_tokens // max(1, int(lengths[row])))
        groups[-1].append(row)
        room -= 1
    wanted = math.ceil(len(groups) / workers) * workers
    while len(groups) < min(wanted, len(rows)):
        widest = max(range(len(groups)), key=lambda i: (len(groups[i]) > 1, _padded(lengths, groups[i])))
        half = math.ceil(len(groups[widest]) / 2)
        groups[widest : widest + 1] = [groups[widest][:half], groups[widest][half:]]
    costliest_first = sorted(groups, key=lambda group: -_padded(lengths, group))
    dealt = [MicroBatch(tuple(group)) for group in costliest_first]
    shortest = int(longest_first[-1])
    dealt += [MicroBatch((shortest,), filler=True)] * (wanted - len(dealt))
    return [dealt[worker::workers] for worker in range(workers)]


def _padded(lengths: Rows, group: Sequence[int]) -> int:
    return len(group) * int(max(lengths[row] for row in group))


def padding_frac(lengths: Rows, batches: Sequence[MicroBatch]) -> float:
    """Share of the tokens of these forward passes that is padding.

    >>> padding_frac(np.array([2, 4]), [MicroBatch((0, 1))])
    0.25
    """
    padded = sum(_padded(lengths, batch.rows) for batch in batches)
    return 1 - sum(int(lengths[row]) for batch in batches for row in batch.rows) / padded if padded else 0.0


def token_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Positions grouped by similar length, each group at most `batch_tokens` when padded, or a single item.

    >>> list(token_batches([5, 1, 4, 1], batch_tokens=8))
    [[1, 3], [2], [0]]
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and lengths[position] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
