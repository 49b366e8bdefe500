"""The limits of a run hold in every minute, whoever asks and however many."""

import random

import pytest

from wildreward.judge.rate_limit import HORIZON_S, RunLimits, TokenEstimate


def starts(limits: RunLimits, actors: int, per_actor: int, tokens: int, seed: int) -> list[float]:
    """When requests start if several judge actors ask at random moments for random numbers of starts."""
    rng, now, made = random.Random(seed), 1000.0, []
    left = dict.fromkeys(range(actors), per_actor)
    while any(left.values()):
        now += rng.expovariate(4.0) if rng.random() < 0.998 else 90.0  # now and then a lull
        actor = rng.choice([actor for actor, count in left.items() if count])
        asked = min(left[actor], rng.randint(1, 64))
        delays = limits.lease([tokens] * asked, 0, now)
        assert 1 <= len(delays) <= asked
        made += [now + delay for delay in delays]
        left[actor] -= len(delays)
    return sorted(made)


def most_in_a_minute(times: list[float]) -> int:
    most, first = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - 60 + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize(("per_minute", "actors"), [(1, 1), (30, 3), (600, 1), (6000, 5)])
def test_requests_stay_within_the_limit_in_every_minute_and_come_near_it(per_minute: int, actors: int) -> None:
    times = starts(RunLimits(per_minute, None), actors, per_actor=3 * per_minute, tokens=100, seed=per_minute)
    assert 0.95 * per_minute <= most_in_a_minute(times) <= per_minute


def test_tokens_stay_within_the_limit_but_for_the_request_that_is_under_way() -> None:
    times = starts(RunLimits(None, 60_000), actors=3, per_actor=400, tokens=250, seed=1)
    assert 0.95 * 60_000 <= 250 * most_in_a_minute(times) <= 60_000 + 250


def test_the_tighter_of_two_limits_decides() -> None:
    times = starts(RunLimits(600, 60_000), actors=2, per_actor=400, tokens=250, seed=2)
    assert most_in_a_minute(times) <= 241


def test_tokens_used_beyond_the_estimate_delay_the_next_and_unused_ones_let_it_start() -> None:
    low, high = RunLimits(None, 6100), RunLimits(None, 6100)  # 100 tokens take a second
    assert low.lease([100, 100, 100], 0, now=50.0) == high.lease([100, 100, 100], 0, now=50.0) == [0.0, 0.0, 1.0]
    assert low.lease([100], 200, now=50.0) == [pytest.approx(4.0)]
    assert high.lease([100], -200, now=50.0) == [pytest.approx(0.0)]


def test_starts_are_promised_no_further_ahead_than_the_horizon_but_for_one() -> None:
    limits = RunLimits(61, None)
    assert len(limits.lease([1] * 64, 0, now=0.0)) == 2 + HORIZON_S
    assert limits.lease([1] * 64, 0, now=0.0) == [3.0]


def test_without_a_limit_everything_starts_at_once() -> None:
    assert RunLimits(None, None).lease([1000] * 64, 0, now=5.0) == [0.0] * 64


def test_the_estimate_follows_the_usage_that_is_reported() -> None:
    estimate, body = TokenEstimate(max_tokens=256), b"x" * 4000
    assert estimate.of(body) == 1256
    estimate.learn(body, prompt=800, completion=20)
    assert estimate.of(body) == 821
    assert estimate.of(b"x" * 2000) == 421
