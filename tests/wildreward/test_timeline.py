"""When turns were judged: bounded, and the same however the blocks were dealt out."""

from collections import Counter

from wildreward.timeline import MAX_INTERVALS, Timeline


def made(times: list[float]) -> Timeline:
    found = Timeline()
    for time_s in times:
        found.add(time_s, 2)
    return found


def test_the_intervals_do_not_depend_on_how_blocks_were_dealt_out() -> None:
    times = [1.5e9 + 7.3 * number for number in range(4 * MAX_INTERVALS)]
    whole = made(times)
    assert made(times[::2]) + made(times[1::2]) == made(times[100:]) + made(times[:100]) == whole
    assert len(whole.turns) <= MAX_INTERVALS < 2 * len(whole.turns)
    assert whole.turns.total() == 2 * len(times)


def test_a_gap_between_two_sessions_is_shown_as_one() -> None:
    found = made([1000.0, 1001.0, 1002.0]) + made([90_000.0, 90_001.0])
    shown = found.shown(most=60)
    assert len(shown) <= 60
    assert [rate > 0 for _, _, rate in shown] == [True, *[False] * (len(shown) - 2), True]
    assert sum(rate * width for _, width, rate in shown) == 10


def test_nothing_judged_shows_nothing() -> None:
    found = Timeline()
    found.add(1000.0, 0)
    assert (found.shown(), found.turns) == ([], Counter())
