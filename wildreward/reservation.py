"""All that a stage's actors need, reserved in one piece: two runs that each hold half of their actors would wait for
each other for ever.

with reserved("dpo", asks) as options:
    actor = ray.remote(**options, num_cpus=1)(Role).remote()
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wildreward.resources import Ask, not_free

SAY_AFTER_S = 5.0
"""A reservation that is not given by then is waited for, and that is said."""

SAY_AGAIN_S = 60.0


@contextmanager
def reserved(stage: str, asks: Sequence[Ask]) -> Iterator[dict[str, Any]]:
    """Options of `ray.remote` that place an actor in the reservation, which is given back when the block ends.

    Waits until all of it is there: `require` says before whether it can ever be. Where a node is lost its part of the
    reservation moves to another, and the actors with it that may restart. Nothing is reserved where nothing is asked.
    """
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    bundles = [bundle for ask in asks if (bundle := _bundle(ask)) for _ in range(ask.count)]
    if not bundles:
        yield {}
        return
    group = ray.util.placement_group(bundles, strategy="PACK", name=stage)
    try:
        _wait(stage, asks, group)
        yield {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    finally:
        ray.util.remove_placement_group(group)


def _bundle(ask: Ask) -> dict[str, float]:
    return {name: amount for name, amount in ask.resources.items() if amount}


def _wait(stage: str, asks: Sequence[Ask], group: Any) -> None:
    """Says what it waits for, and goes on waiting: what other work holds is given back one day."""
    patience = SAY_AFTER_S
    while not group.wait(timeout_seconds=patience):
        lacking = not_free(asks) or "free in all, but not together on the nodes"
        print(f"{stage}: waits for what it asks for ({lacking}); nothing is held meanwhile", flush=True)
        patience = SAY_AGAIN_S
