"""Sample rows: few, uniform, and the same ones however the run was cut."""

from collections import Counter
from functools import partial

from wildreward.samples import MAX_TEXT_CHARS, Samples, row_sample


def drawn(ids: list[int], seed: int = 0, per_group: int = 3) -> Samples:
    samples = Samples(per_group, seed)
    for number in ids:
        samples.offer("level 1", f"row/{number}", partial(dict, number=number))
    return samples


def test_the_draw_does_not_depend_on_order_or_parts() -> None:
    ids = list(range(200))
    whole = drawn(ids)
    assert drawn(ids[::-1]) == whole == drawn(ids[:7]) + drawn(ids[7:]) == Samples() + drawn(ids)
    assert len(whole.shown()["level 1"]) == 3
    assert drawn(ids, seed=1).shown() != whole.shown()


def test_a_row_that_is_withdrawn_makes_room_for_the_next_in_the_draw() -> None:
    whole = drawn(list(range(50)))
    first, second, third = (row["number"] for row in whole.shown()["level 1"])
    whole.withdraw("level 1", f"row/{first}")
    left = [row["number"] for row in whole.shown()["level 1"]]
    assert left[:2] == [second, third]
    assert len(left) == 3
    whole.withdraw("level 2", "no such row")


def test_every_row_is_as_likely_as_any_other() -> None:
    taken = Counter(row["number"] for seed in range(300) for row in drawn(list(range(10)), seed).shown()["level 1"])
    assert set(taken) == set(range(10))
    assert max(taken.values()) < 2 * min(taken.values())


def test_a_row_that_is_not_taken_is_not_even_looked_at() -> None:
    shown: Counter[str] = Counter()

    def show() -> dict[str, str]:
        shown["looked at"] += 1
        return {}

    samples = Samples(per_group=1)
    for number in range(500):
        samples.offer("level 1", str(number), show)
    assert 1 <= shown["looked at"] < 60


def test_nothing_is_kept_where_none_are_wanted() -> None:
    assert drawn(list(range(9)), per_group=0).groups == {}


def test_long_texts_are_cut_and_what_is_missing_is_said() -> None:
    messages = [{"role": "user", "content": "q" * 10_000}, {"role": "assistant", "content": "short"}]
    shown = row_sample({"id": "a/0", "level": 1, "messages": messages, "follow_up": "no"}, raw=None)
    assert shown["texts"]["prompt"] == "q" * MAX_TEXT_CHARS + f" [{10_000 - MAX_TEXT_CHARS:,} more characters]"
    assert (shown["texts"]["reply"], "judge" in shown["texts"]) == ("short", False)
