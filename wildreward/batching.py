"""Which rows go into which batch: length-bucketed, the same number of micro-batches on every worker, a pure function of
the seed, so that a resumed run continues at the exact micro-batch.

A batch is one optimiser step over all workers; a micro-batch is one forward pass of one worker.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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


@dataclass
class Batches:
    """The batch of every optimiser step. Holds the row numbers of one epoch: 8 bytes a row."""

    lengths: Rows
    batch_rows: int
    bucket_batches: int
    seed: int
    _epoch: int = field(default=-1, init=False)
    _batches: list[Rows] = field(default_factory=list, init=False)

    def of_step(self, step: int) -> Rows:
        """Row numbers of optimiser step `step` (0-based, counted over epochs)."""
        epoch, index = divmod(step, steps_per_epoch(len(self.lengths), self.batch_rows))
        if epoch != self._epoch:
            self._batches = epoch_batches(self.lengths, self.batch_rows, self.bucket_batches, self.seed, epoch)
            self._epoch = epoch
        return self._batches[index]


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


def micro_batches(
    lengths: Rows, rows: Rows, workers: int, max_tokens: int, packed: bool = False
) -> list[list[MicroBatch]]:
    """For each worker its micro-batches of one batch: equally many, none over `max_tokens` (padded, unless `packed`).

    >>> lengths = np.array([10, 90, 12, 95, 11])
    >>> micro_batches(lengths, np.arange(5), workers=2, max_tokens=200)
    [[MicroBatch(rows=(3, 1), filler=False)], [MicroBatch(rows=(2, 4, 0), filler=False)]]
    >>> micro_batches(lengths, np.arange(5), workers=2, max_tokens=200, packed=True)
    [[MicroBatch(rows=(1, 2, 0), filler=False)], [MicroBatch(rows=(3, 4), filler=False)]]
    """
    found = lengths[rows].tolist()
    cost = sum if packed else _padded
    groups = _packs(found, workers, max_tokens) if packed else _spread(found, workers, max_tokens)
    groups.sort(key=lambda group: -cost([found[i] for i in group]))
    dealt = [MicroBatch(tuple(rows[group].tolist())) for group in groups]
    shortest = int(rows[min(range(len(found)), key=found.__getitem__)])
    dealt += [MicroBatch((shortest,), filler=True)] * (-len(dealt) % workers)
    return [dealt[worker::workers] for worker in range(workers)]


def token_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Positions grouped by similar length, the longest first; padded, none is over `batch_tokens`, or it is one alone.

    >>> token_batches([5, 1, 4, 1], batch_tokens=8)
    [[0], [2, 1], [3]]
    """
    groups: list[list[int]] = []
    room = 0
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room < 1:
            groups.append([])
            room = max(1, batch_tokens // max(1, lengths[position]))
        groups[-1].append(position)
        room -= 1
    return groups


def runs(lengths: Sequence[int], batch_tokens: int) -> Iterator[range]:
    """Neighbours with at most `batch_tokens` tokens together, or a single text.

    >>> list(runs([3, 4, 9, 1], batch_tokens=7))
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    start = total = 0
    for position, length in enumerate(lengths):
        if position > start and total + length > batch_tokens:
            yield range(start, position)
            start, total = position, 0
        total += length
    if lengths:
        yield range(start, len(lengths))


def _spread(lengths: Sequence[int], workers: int, max_tokens: int) -> list[list[int]]:
    """`token_batches`, the widest of them halved until every worker has equally many, as far as there are rows."""
    groups = token_batches(lengths, max_tokens)
    wanted = math.ceil(len(groups) / workers) * workers
    while len(groups) < min(wanted, len(lengths)):
        widths = [(len(group) > 1, _padded([lengths[i] for i in group])) for group in groups]
        widest = max(range(len(groups)), key=widths.__getitem__)
        half = math.ceil(len(groups[widest]) / 2)
        groups[widest : widest + 1] = [groups[widest][:half], groups[widest][half:]]
    return groups


def _packs(lengths: Sequence[int], workers: int, max_tokens: int) -> list[list[int]]:
    """As few groups as a multiple of `workers` allows, of about equal sums: the longest to the emptiest, in turn."""
    longest_first = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    count = math.ceil(max(1, math.ceil(sum(lengths) / max_tokens)) / workers) * workers
    while count < len(lengths):
        sums = [(0, number) for number in range(count)]
        groups: list[list[int]] = [[] for _ in range(count)]
        for position in longest_first:
            total, number = heapq.heappop(sums)
            heapq.heappush(sums, (total + lengths[position], number))
            groups[number].append(position)
        if max(sums)[0] <= max_tokens:
            return groups
        count += workers * max(1, count // (64 * workers))
    return [[position] for position in longest_first]


def _padded(lengths: Sequence[int]) -> int:
    return len(lengths) * max(lengths)


def padding_frac(lengths: Rows, batches: Sequence[MicroBatch]) -> float:
    """Share of the tokens of these forward passes that is padding, where they are padded.

    >>> padding_frac(np.array([2, 4]), [MicroBatch((0, 1))])
    0.25
    """
    found = [lengths[list(batch.rows)].tolist() for batch in batches]
    padded = sum(map(_padded, found))
    return 1 - sum(map(sum, found)) / padded if padded else 0.0
