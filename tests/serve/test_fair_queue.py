"""The queue by itself, forward pass by forward pass: no clock, no model."""

import random

from serve.fair_queue import FairQueue

Named = tuple[str, int]


def request(name: str, items: int, tokens: int = 10) -> list[tuple[int, Named]]:
    return [(tokens, (name, i)) for i in range(items)]


def test_a_single_text_waits_for_at_most_two_of_each_waiting_request_however_much_they_hold() -> None:
    rng = random.Random(0)
    for _ in range(50):
        queue: FairQueue[Named] = FairQueue()
        rivals = rng.randint(1, 6)
        for name in range(rivals):
            queue.add(request(f"big {name}", rng.randint(100, 256)))
            for _ in range(rng.randint(0, 5)):
                queue.take(rng.choice([10, 30, 70]))
        queue.add(request("single", 1))
        before: list[Named] = []
        while ("single", 0) not in (batch := queue.take(50)):
            before += batch
        before += batch[: batch.index(("single", 0))]
        assert max((sum(name == f"big {rival}" for name, _ in before) for rival in range(rivals)), default=0) <= 2


def test_a_256_item_request_delays_a_single_one_by_no_more_than_one_forward_pass() -> None:
    queue: FairQueue[Named] = FairQueue()
    queue.add(request("big", 256, tokens=100))
    passes_of_singles = []
    for turn in range(12):
        running = queue.take(1024)
        assert running
        queue.add(request(f"single {turn}", 1, tokens=100))
        waiting = queue.take(1024)
        passes_of_singles.append((f"single {turn}", 0) in waiting)
    assert all(passes_of_singles)  # in the first batch after the one that ran when it came


def test_a_big_request_is_not_starved_by_single_ones_that_keep_coming() -> None:
    """63 clients that each send the next text as soon as the last is answered, and one request of 40."""
    queue: FairQueue[Named] = FairQueue()
    for client in range(63):
        queue.add(request(f"client {client}", 1))
    queue.add(request("big", 40))
    served = {"big": 0, "singles": 0}
    while served["big"] < 40:
        for name, _ in queue.take(80):
            served["big" if name == "big" else "singles"] += 1
            if name != "big":
                queue.add(request(name, 1))
    assert served["singles"] <= 40 * 2 * 63  # at most two turns of every other for one of its own


def test_a_text_longer_than_a_batch_goes_alone_and_blocks_nobody() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add([(5000, "long")])
    queue.add([(10, "short")])
    assert [queue.take(1024), queue.take(1024), queue.take(1024)] == [["long"], ["short"], []]
    assert queue.tokens == 0


def test_batches_stay_within_their_tokens_and_every_unit_is_served_once() -> None:
    rng = random.Random(1)
    queue: FairQueue[tuple[int, int]] = FairQueue()
    given = []
    for name in range(30):
        units = [(rng.randint(1, 300), (name, i)) for i in range(rng.randint(1, 20))]
        given += units
        queue.add(units)
    tokens = {unit: size for size, unit in given}
    served = []
    while batch := queue.take(512):
        assert len(batch) == 1 or sum(tokens[unit] for unit in batch) <= 512
        served += batch
    assert sorted(served) == sorted(tokens)


def test_two_takers_share_what_waits() -> None:
    queue: FairQueue[Named] = FairQueue()
    queue.add(request("one", 8))
    assert [len(queue.take(1024, takers=2)), len(queue.take(1024, takers=1))] == [4, 4]


def test_what_was_dropped_takes_no_room() -> None:
    dropped = {("gone", 0), ("gone", 1)}
    queue: FairQueue[Named] = FairQueue(lambda unit: unit in dropped)
    queue.add(request("gone", 2, tokens=1000))
    queue.add(request("here", 2))
    assert queue.take(1024) == [("here", 0), ("here", 1)]
    assert (len(queue), queue.tokens) == (0, 0)
