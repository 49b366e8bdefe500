"""Which cluster: wrong addresses are refused at once; a connection that is there is used and left alone."""

import socket

import pytest
import ray

from wildreward.cluster import MIN_LOCAL_CPUS, _check_reachable, cluster, connect
from wildreward.errors import UsageError, WildrewardError


def test_an_address_of_no_known_form_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="found 'nonsense'; allowed are auto, local"):
        connect("nonsense")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_closed_port_is_refused_at_once_and_named(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take it, and it refuses
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(WildrewardError, match="no Ray cluster answers there"):
            _check_reachable(address)


def test_a_server_that_never_says_anything_is_told_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wildreward.cluster.CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(WildrewardError, match=f"{address}: no Ray cluster answers there: timed out"):
            _check_reachable(address)


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_answers() -> None:
    _check_reachable(ray.get_runtime_context().gcs_address)


@pytest.mark.usefixtures("ray_cluster")
def test_a_stage_inside_a_connection_uses_it_and_leaves_it() -> None:
    before = ray.get_runtime_context().get_job_id()
    with cluster("local"):
        assert ray.get_runtime_context().get_job_id() == before
    assert ray.is_initialized()


@pytest.mark.usefixtures("ray_cluster")
def test_a_local_cluster_has_slots_enough_for_streaming() -> None:
    assert ray.cluster_resources()["CPU"] >= MIN_LOCAL_CPUS
