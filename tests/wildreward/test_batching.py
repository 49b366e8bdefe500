"""Batches cover every row once, fit their budget, and are the same for the same seed."""

from itertools import chain

import numpy as np
import pytest

from wildreward.batching import batch_of_step, epoch_batches, micro_batches, padding_frac, steps_per_epoch

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
    walked = [batch_of_step(LENGTHS, step, 16, 4, seed=5).tolist() for step in range(40)]
    assert batch_of_step(LENGTHS, 33, 16, 4, seed=5).tolist() == walked[33]
    assert walked[:13] != walked[13:26], "another epoch has another order"


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_workers_have_equally_many_micro_batches_that_fit_and_share_the_batch(workers: int) -> None:
    rows = np.arange(40)
    shares = micro_batches(LENGTHS, rows, workers, max_tokens=4096)
    assert len({len(share) for share in shares}) == 1
    counted = [micro for share in shares for micro in share if not micro.filler]
    assert sorted(chain.from_iterable(micro.rows for micro in counted)) == rows.tolist()
    assert all(len(micro.rows) * LENGTHS[list(micro.rows)].max() <= 4096 for micro in counted)


def test_a_worker_without_rows_gets_a_filler() -> None:
    shares = micro_batches(np.array([10, 20, 30]), np.arange(3), workers=2, max_tokens=30)
    assert sum(micro.filler for share in shares for micro in share) == 1
    assert [len(share) for share in shares] == [2, 2]


def test_buckets_and_a_token_budget_leave_little_padding() -> None:
    batches = epoch_batches(LENGTHS, 32, bucket_batches=8, seed=0, epoch=0)
    fraction = padding_frac(LENGTHS, [micro for rows in batches for micro in micro_batches(LENGTHS, rows, 1, 8192)[0]])
    assert fraction < 0.1
