import numpy as np
import pytest

from wildreward import bootstrap
from wildreward.bootstrap import MIN_GROUPS, Estimate, resample
from wildreward.metrics import mean

HITS = np.random.default_rng(0).random(200) < 0.7


def test_the_interval_of_a_rate_is_that_of_the_binomial() -> None:
    made = resample({"rate": mean(HITS)}, np.arange(200), replicates=4000)["rate"].estimate()
    assert made.low is not None
    assert made.high is not None
    assert made.high - made.low == pytest.approx(2 * 1.96 * np.sqrt(HITS.mean() * (1 - HITS.mean()) / 200), rel=0.1)


def test_rows_of_one_group_are_drawn_together() -> None:
    doubled, groups = np.repeat(HITS, 2), np.repeat(np.arange(200), 2)
    single = resample({"rate": mean(HITS)}, np.arange(200))["rate"].estimate()
    assert resample({"rate": mean(doubled)}, groups)["rate"].estimate() == single


def test_a_statistic_compared_with_itself_differs_by_nothing() -> None:
    samples = resample({"a": mean(HITS), "b": mean(HITS)}, np.arange(200))
    assert samples["a"].minus(samples["b"]).estimate() == Estimate(0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    def made(seed: int) -> Estimate:
        return resample({"rate": mean(HITS)}, np.arange(200), seed=seed)["rate"].estimate()

    assert made(1) == made(1) != made(2)


def test_slicing_the_work_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resample({"rate": mean(HITS)}, np.arange(200), replicates=100)["rate"].replicates_R
    monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", 200 * 7)
    assert np.allclose(resample({"rate": mean(HITS)}, np.arange(200), replicates=100)["rate"].replicates_R, whole)


@pytest.mark.parametrize(("groups", "replicates"), [(MIN_GROUPS - 1, 1000), (50, 0)])
def test_too_few_groups_or_no_resamples_give_a_value_without_interval(groups: int, replicates: int) -> None:
    made = resample({"rate": mean(np.ones(groups))}, np.arange(groups), replicates)["rate"].estimate()
    assert made == Estimate(1.0)
    assert made.side_of(0.5) is None


def test_the_side_of_a_reference_is_decided_by_the_whole_interval() -> None:
    assert [Estimate(0.5, *ends).side_of(0.5) for ends in ((0.51, 0.6), (0.4, 0.49), (0.4, 0.6), (0.5, 0.6))] == [
        1,
        -1,
        0,
        0,
    ]
