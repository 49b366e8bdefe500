"""Train and test by conversation: a conversation's place is a hash, so that no conversation is on both sides.

The split needs one histogram (rows per bucket), however many rows there are: every worker then decides for itself.
"""

import hashlib
from collections.abc import Mapping

BUCKETS = 65536

DEFAULT_TEST_ROWS = 5_000
FULL_SIZE_ROWS = 50_000


def bucket(conversation_hash: str, seed: int) -> int:
    """A conversation's bucket, 0..65535: uniform, and the same everywhere for the same seed.

    >>> bucket("a", 0), bucket("a", 1), bucket("b", 0)
    (19587, 24681, 47660)
    """
    digest = hashlib.blake2b(f"{seed}/{conversation_hash}".encode("utf-8", "surrogatepass"), digest_size=2)
    return int.from_bytes(digest.digest())


def sampled(key: str, frac: float, seed: int) -> bool:
    """Whether a conversation is in the sample: the same everywhere for the same seed; a larger share holds a smaller.

    Its hash is another one than that of `bucket`: a sample is divided into train and test like the whole.

    >>> [sampled(key, 0.5, seed=0) for key in "abcdef"], sampled("a", 1.0, seed=0)
    ([False, True, False, False, True, True], True)
    """
    digest = hashlib.blake2b(f"{seed}/{key}".encode("utf-8", "surrogatepass"), digest_size=8, person=b"sample")
    return int.from_bytes(digest.digest()) < frac * 2**64


def default_test_rows(total: int) -> int:
    """Rows for the test split: 5,000, or a tenth of fewer than 50,000.

    >>> default_test_rows(1_000_000), default_test_rows(900), default_test_rows(3), default_test_rows(0)
    (5000, 90, 1, 0)
    """
    if total >= FULL_SIZE_ROWS:
        return DEFAULT_TEST_ROWS
    return max(1, total // 10) if total > 1 else 0


def test_threshold(rows_per_bucket: Mapping[int, int], test_rows: int) -> int:
    """The threshold for which the rows in buckets below it come nearest to `test_rows`; those go to test.

    Where two buckets or more hold rows and `test_rows` is neither 0 nor all, neither side is left empty.

    >>> test_threshold({3: 10, 700: 10, 900: 10}, 10), test_threshold({3: 10, 700: 10}, 1), test_threshold({3: 10}, 1)
    (4, 4, 0)
    """
    filled = sorted(place for place, rows in rows_per_bucket.items() if rows)
    total = sum(rows_per_bucket.values())
    if test_rows >= total:
        return BUCKETS
    best, best_distance, below = 0, test_rows, 0
    if test_rows > 0 and len(filled) > 1:
        best_distance = total  # any split that leaves rows on both sides is better than none
    for place in filled[:-1]:
        below += rows_per_bucket[place]
        if abs(below - test_rows) < best_distance:
            best, best_distance = place + 1, abs(below - test_rows)
    return best


test_threshold.__test__ = False  # type: ignore[attr-defined] # its name, given by what it returns, is no test's
