"""Batches cover every row once, fit their budget, and are the same for the same seed."""

from itertools import chain

import numpy as np
import pytest

from tests.wildchat_lengths import wildchat_lengths
from wildreward.batching import (
    Batches,
    MicroBatch,
    epoch_batches,
    micro_batches,
    padding_frac,
    steps_per_epoch,
    token_batches,
)
from wildreward.settings.train import TrainSettings

LENGTHS = np.random.default_rng(0).lognormal(6, 1, size=203).astype(np.int64).clip(5, 4096)


@pytest.mark.parametrize("bucket_batches", [1, 3, 100])
@pytest.mark.parametrize("batch_rows", [1, 7, 32, 500])
def test_an_epoch_has_every_row_once_in_batches_of_even_size(batch_rows: int, bucket_batches: int) -> None:
    batches = epoch_batches(LENGTHS, batch_rows, bucket_batches, seed=1, epoch=0)
    assert len(batches) == steps_per_epoch(len(LENGTHS), batch_rows)
    assert sorted(chain.from_iterable(rows.tolist() for rows in batches)) == list(range(len(LENGTHS)))
    assert max(map(len, batches)) <= batch_rows
    assert max(map(len, batches)) - min(map(len, batches)) <= 2


def test_a_step_has_its_rows_whenever_it_is_asked() -> None:
    walking = Batches(LENGTHS, 16, 4, seed=5)
    walked = [walking.of_step(step).tolist() for step in range(40)]
    assert Batches(LENGTHS, 16, 4, seed=5).of_step(33).tolist() == walked[33]
    assert walking.of_step(3).tolist() == walked[3], "an epoch that is over can be asked for again"
    assert walked[:13] != walked[13:26], "another epoch has another order"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_workers_have_equally_many_micro_batches_that_fit_and_share_the_batch(workers: int, packed: bool) -> None:
    rows = np.arange(100, 140)
    shares = micro_batches(LENGTHS, rows, workers, 4096, packed)
    assert len({len(share) for share in shares}) == 1
    counted = [micro for share in shares for micro in share if not micro.filler]
    assert sorted(chain.from_iterable(micro.rows for micro in counted)) == rows.tolist()
    assert all(tokens(micro, packed) <= 4096 for micro in counted)


def tokens(micro: MicroBatch, packed: bool) -> int:
    found = LENGTHS[list(micro.rows)]
    return int(found.sum() if packed else found.max() * len(found))


@pytest.mark.parametrize("packed", [False, True])
def test_a_worker_without_rows_gets_a_filler(packed: bool) -> None:
    shares = micro_batches(np.array([20, 25, 30]), np.arange(3), 2, 30, packed)
    assert sum(micro.filler for share in shares for micro in share) == 1
    assert [len(share) for share in shares] == [2, 2]


def test_packs_share_the_tokens_evenly() -> None:
    shares = micro_batches(LENGTHS, np.arange(128), 8, 8192, packed=True)
    found = [tokens(micro, packed=True) for share in shares for micro in share]
    assert max(found) < 1.05 * np.mean(found)


def test_token_batches_hold_every_position_once_within_the_limit() -> None:
    lengths = [7, 1, 9, 3, 3, 18, 2]
    groups = token_batches(lengths, 12)
    assert sorted(chain.from_iterable(groups)) == list(range(len(lengths)))
    assert all(len(group) == 1 or max(lengths[i] for i in group) * len(group) <= 12 for group in groups)


@pytest.mark.parametrize(("max_tokens", "workers"), [(512, 1), (512, 2), (4096, 1), (4096, 2)])
def test_padding_is_under_a_tenth_on_real_wildchat_lengths_with_default_settings(max_tokens: int, workers: int) -> None:
    """Padded to the longest allowed, 15 percent of 512 and 64 percent of 4,096 would be padding."""
    lengths, given = wildchat_lengths(max_tokens), TrainSettings(max_tokens=max_tokens, workers=workers)
    batches = epoch_batches(lengths, given.batch_rows, given.bucket_batches, seed=0, epoch=0)
    shares = [micro_batches(lengths, rows, workers, given.micro_batch_tokens) for rows in batches]
    assert padding_frac(lengths, [micro for step in shares for share in step for micro in share]) < 0.1
