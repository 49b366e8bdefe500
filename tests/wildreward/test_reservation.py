"""What a stage's actors need comes in one piece: who cannot have all of it holds nothing."""

import re
import threading
from typing import Any

import pytest
import ray

from wildreward import reservation
from wildreward.reservation import reserved
from wildreward.resources import Ask

pytestmark = pytest.mark.usefixtures("ray_cluster")


class Role:
    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())


def states() -> dict[str, str]:
    """Of the reservations that were not given back, by name; what is pending holds nothing."""
    found = ray.util.placement_group_table().values()
    return {group["name"]: group["state"] for group in found if group["state"] != "REMOVED"}


def test_who_cannot_have_all_of_it_waits_and_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said, done = threading.Event(), threading.Event()
    each = ray.cluster_resources()["CPU"] / 2
    waits = rf"second: waits for what it asks for \({1.5 * each:g} CPU asked, (.*) free\); nothing is held meanwhile"

    def say(line: str, **_: Any) -> None:
        if (found := re.fullmatch(waits, line)) and float(found[1]) <= each / 2:  # Ray counts with some delay
            said.set()

    monkeypatch.setattr(reservation, "SAY_AFTER_S", 0.2)
    monkeypatch.setattr(reservation, "SAY_AGAIN_S", 0.2)
    monkeypatch.setattr(reservation, "print", say, raising=False)
    asks = [Ask("worker", 1, {"CPU": each, "GPU": 0}), Ask("scorer", 1, {"CPU": each / 2})]

    def other() -> None:
        with reserved("second", asks):
            done.set()

    with reserved("first", asks) as options:
        worker: Any = ray.remote(**options, num_cpus=each)(Role)
        assert ray.get(worker.remote().node.remote())
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        assert said.wait(30)
        assert not done.is_set()
        assert states() == {"first": "CREATED", "second": "PENDING"}
    assert done.wait(30)
    thread.join()


def test_nothing_is_reserved_where_nothing_is_asked() -> None:
    with reserved("dpo", [Ask("role", 4, {"CPU": 0, "GPU": 0})]) as options:
        assert options == {}
