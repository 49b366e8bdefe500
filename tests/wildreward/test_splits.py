"""The split by conversation."""

from collections import Counter
from random import Random

from wildreward.splits import BUCKETS, bucket, default_test_rows, sampled
from wildreward.splits import test_threshold as threshold_for


def test_the_test_split_has_the_rows_asked_for_and_no_conversation_twice() -> None:
    rng = Random(0)
    rows = {f"conversation {n}": rng.randrange(1, 12) for n in range(5_000)}
    histogram: Counter[int] = Counter()
    for name, count in rows.items():
        histogram[bucket(name, 7)] += count
    wanted = default_test_rows(histogram.total())
    threshold = threshold_for(histogram, wanted)
    test = sum(count for name, count in rows.items() if bucket(name, 7) < threshold)
    assert abs(test - wanted) <= 12


def test_buckets_are_even_and_depend_on_the_seed() -> None:
    places = [bucket(str(n), 0) for n in range(20_000)]
    assert 0.48 < sum(place < BUCKETS // 2 for place in places) / len(places) < 0.52
    assert places[:100] != [bucket(str(n), 1) for n in range(100)]


def test_neither_side_is_empty_where_both_can_have_rows() -> None:
    assert 10 < threshold_for({10: 500, 20: 1}, 5) <= 20
    assert threshold_for({10: 5, 20: 5}, 0) == 0
    assert threshold_for({10: 5, 20: 5}, 10) == BUCKETS
    assert threshold_for({}, 0) in {0, BUCKETS}


def test_a_sample_has_its_size_grows_with_its_share_and_is_split_like_the_whole() -> None:
    keys = [f"conversation {number}" for number in range(20_000)]
    tenth, third = ({key for key in keys if sampled(key, frac, seed=5)} for frac in (0.1, 0.33))
    assert 1_850 < len(tenth) < 2_150
    assert tenth < third
    assert tenth != {key for key in keys if sampled(key, 0.1, seed=6)}
    in_test = sum(bucket(key, 5) < BUCKETS // 10 for key in tenth)
    assert 0.07 < in_test / len(tenth) < 0.13
