"""What a cluster can never give, and what a stage says of it."""

import pytest

from wildreward.errors import WildrewardError
from wildreward.resources import UNLIMITED, Ask, Nodes, cluster_nodes, require, shortfalls

GPU_WORKER = {"CPU": 4.0, "GPU": 1.0}


def test_what_fits_is_not_refused() -> None:
    nodes = [Nodes({"CPU": 16}), Nodes({"CPU": 32, "GPU": 8})]
    assert shortfalls([Ask("training worker", 8, GPU_WORKER)], nodes) == []
    assert shortfalls([Ask("scorer", 3, {"CPU": 0, "GPU": 0})], nodes) == []
    assert shortfalls([Ask("scorer", 16, {"GPU": 0.5})], nodes) == []


@pytest.mark.parametrize(
    ("asks", "nodes", "said"),
    [
        ([Ask("worker", 1, GPU_WORKER)], [Nodes({"CPU": 64})], "no node has that much; the largest has 0 GPU"),
        ([Ask("worker", 9, GPU_WORKER)], [Nodes({"CPU": 64, "GPU": 8})], "there is room for 8"),
        ([Ask("worker", 1, GPU_WORKER)], [Nodes({"CPU": 64}), Nodes({"GPU": 1})], "no single node has all of that"),
        ([Ask("worker", 1, {"CPU": 1})], [], "the largest has 0 CPU"),
        (
            [Ask("judge", 2, {"GPU": 2}), Ask("scorer", 5, {"GPU": 1})],
            [Nodes({"GPU": 8})],
            "9 GPU in all; there are 8",
        ),
    ],
)
def test_what_can_never_be_given_is_named(asks: list[Ask], nodes: list[Nodes], said: str) -> None:
    [line] = shortfalls(asks, nodes)
    assert said in line


def test_nodes_that_an_autoscaler_may_add_count_as_there() -> None:
    ask = [Ask("worker", 16, GPU_WORKER)]
    assert shortfalls(ask, [Nodes({"CPU": 4}), Nodes({"CPU": 32, "GPU": 8}, count=2)]) == []
    assert shortfalls(ask, [Nodes({"CPU": 32, "GPU": 8}, count=UNLIMITED)]) == []


@pytest.mark.usefixtures("ray_cluster")
def test_a_stage_says_what_it_asks_for_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    require("train", [Ask("training worker", 2, {"CPU": 1})])
    assert "train: asks for 2 training workers with 1 CPU each. The cluster: 1 x (" in capsys.readouterr().out
    assert all(name in {"CPU", "GPU"} or ":" not in name for node in cluster_nodes() for name in node.resources)
    with pytest.raises(WildrewardError, match=r"can never give 1 training worker with 1 CPU, 99 GPU: no node has that"):
        require("train", [Ask("training worker", 1, {"CPU": 1, "GPU": 99})])
