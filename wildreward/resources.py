"""What a stage asks of the cluster: said before it starts, and refused at once where no node could ever give it.

Ray itself waits, silently and for ever, for a GPU that does not exist. What is only busy is waited for; what an
autoscaler may still add counts as there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wildreward.errors import WildrewardError

Amounts = Mapping[str, float]
"""Resource to how much: {"CPU": 4, "GPU": 1}."""

SLACK = 1e-9
UNLIMITED = -1


@dataclass(frozen=True)
class Ask:
    """`count` processes, each of which needs all of `resources` on one node."""

    what: str
    count: int
    resources: Amounts

    def __str__(self) -> str:
        each = ", ".join(f"{amount:g} {name}" for name, amount in self.resources.items() if amount) or "no CPU"
        return f"{self.count} {self.what}{'s' * (self.count != 1)} with {each}{' each' * (self.count != 1)}"


@dataclass(frozen=True)
class Nodes:
    """`count` nodes alike, of `resources` in all; UNLIMITED where an autoscaler may add any number."""

    resources: Amounts
    count: int = 1


def shortfalls(asks: Sequence[Ask], nodes: Sequence[Nodes]) -> list[str]:
    """What could never be given, a line for each: one process too large for every node, too many of a kind, or more in
    all than there is. Empty where nothing speaks against it.

    >>> shortfalls([Ask("worker", 2, {"CPU": 1, "GPU": 1})], [Nodes({"CPU": 8}), Nodes({"CPU": 4, "GPU": 1})])
    ['2 workers with 1 CPU, 1 GPU each: there is room for 1']
    >>> shortfalls([Ask("worker", 1, {"GPU": 4})], [Nodes({"GPU": 1}, count=8)])
    ['1 worker with 4 GPU: no node has that much; the largest has 1 GPU']
    """
    found = [line for ask in asks if (line := _shortfall(ask, nodes))]
    if found:
        return found
    for name in sorted({name for ask in asks for name in ask.resources}):
        needed = sum(ask.count * ask.resources.get(name, 0) for ask in asks)
        there = sum(_times(node.count) * node.resources.get(name, 0) for node in nodes if node.resources.get(name))
        if needed > there + SLACK:
            found.append(f"{needed:g} {name} in all; there are {there:g}")
    return found


def _shortfall(ask: Ask, nodes: Sequence[Nodes]) -> str | None:
    room = sum(_times(node.count) * fit for node in nodes if (fit := _fit(ask.resources, node.resources)))
    if room >= ask.count:
        return None
    if room:
        return f"{ask}: there is room for {room:g}"
    largest = {name: max((node.resources.get(name, 0) for node in nodes), default=0) for name in ask.resources}
    lacking = [name for name, amount in ask.resources.items() if amount > largest[name] + SLACK]
    if not lacking:
        return f"{ask}: no single node has all of that"
    has = ", ".join(f"{largest[name]:g} {name}" for name in lacking)
    return f"{ask}: no node has that much; the largest has {has}"


def _fit(wanted: Amounts, there: Amounts) -> float:
    """How many such processes one such node holds."""
    shares = [(there.get(name, 0) + SLACK) / amount for name, amount in wanted.items() if amount]
    return math.floor(min(shares)) if shares else math.inf


def _times(count: int) -> float:
    return math.inf if count == UNLIMITED else count


def require(stage: str, asks: Sequence[Ask]) -> None:
    """Say what the stage asks for. Raises WildrewardError naming the shortfall, when the cluster can never give it."""
    nodes = cluster_nodes()
    has = f"The cluster: {in_words(nodes)}"
    print(f"{stage}: asks for {'; '.join(map(str, asks))}. {has}", flush=True)
    if lines := shortfalls(asks, nodes):
        raise WildrewardError(f"{stage}: the cluster can never give {'; '.join(lines)}. {has}")
    if busy := not_free(asks):
        print(f"{stage}: waits where it must until other work is done: {busy}", flush=True)


def not_free(asks: Sequence[Ask]) -> str:
    """What is asked for in all and not free now: it may be given back, or added by an autoscaler."""
    import ray

    free = ray.available_resources()
    needed = {name: sum(ask.count * ask.resources.get(name, 0) for ask in asks) for name in ("CPU", "GPU")}
    lacking = {name: amount for name, amount in needed.items() if amount > free.get(name, 0) + SLACK}
    return ", ".join(f"{amount:g} {name} asked, {free.get(name, 0):g} free" for name, amount in lacking.items())


def cluster_nodes() -> list[Nodes]:
    """The nodes of the connected cluster, and those that its autoscaler may still add."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return [Nodes(_plain(node["Resources"])) for node in alive] + autoscaled_nodes()


def takes_gpus(device: str, count: float = 1) -> bool:
    """Whether a stage computes on GPUs. `auto`: where the cluster has that many now, so that none is started unasked;
    `cuda` and `gpu`: yes, and `require` says whether the cluster has them, or its autoscaler may add them."""
    return device in {"cuda", "gpu"} or (device == "auto" and gpus_now() >= count)


def gpus_now() -> float:
    """GPUs of the alive nodes."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0))


def most(name: str) -> float:
    """How much of a resource the cluster could ever have, what its autoscaler may add included."""
    return sum(_times(node.count) * node.resources[name] for node in cluster_nodes() if node.resources.get(name))


def _plain(resources: Amounts) -> Amounts:
    """Without Ray's own `node:...` and bookkeeping entries."""
    return {name: amount for name, amount in resources.items() if ":" not in name and "memory" not in name}


def autoscaled_nodes() -> list[Nodes]:
    """Node groups as the autoscaler told the cluster; alive nodes are counted besides, so this is generous."""
    from ray._private.state import state  # public code of Ray Train and Ray Data reads it here; there is no other place

    config: Any = state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    return [Nodes(_plain(dict(group.resources)), group.max_count) for group in groups if group.max_count]


def in_words(nodes: Sequence[Nodes]) -> str:
    kinds: dict[str, float] = {}
    for node in nodes:
        what = ", ".join(f"{amount:g} {name}" for name, amount in sorted(node.resources.items())) or "nothing"
        kinds[what] = kinds.get(what, 0) + _times(node.count)
    counted = [f"{'any number of' if count == math.inf else f'{count:g}'} x ({what})" for what, count in kinds.items()]
    return " + ".join(counted) or "no nodes"
