"""Prometheus sees a run while it lasts, by the documented names."""

import time

import pytest

from tests.pipelines.prometheus import samples
from train.sinks import RayMetrics

TRAIN = {"kind": "train", "step": 3, "loss": 0.5, "lr": 0.25, "grad_norm": 2.0, "tokens_per_s": 90.0,
         "padding_frac": 0.125, "mfu": None, "tokens": 700, "epoch": 0.1}  # fmt: skip


@pytest.mark.usefixtures("ray_cluster")
def test_prometheus_sees_the_last_records_of_a_run() -> None:
    metrics = RayMetrics("a-run")
    for record in ({**TRAIN, "step": 2, "tokens": 300}, TRAIN, {"kind": "validation", "step": 3, "mae": 0.75}):
        metrics.write(record)
    expected = {
        **{name: TRAIN[name] for name in ("step", "loss", "lr", "grad_norm", "tokens_per_s", "padding_frac")},
        "validation mae": 0.75,
        "tokens_total": 700.0,
    }
    found: dict[str, float] = {}
    deadline = time.monotonic() + 60
    while found != expected and time.monotonic() < deadline:
        metrics.flush()  # as the run does, twice a second
        time.sleep(0.1)
        found = {
            f"{name} {tags['metric']}" if "metric" in tags else name: value
            for name, tags, value in samples("wildreward_train")
            if tags["run"] == "a-run"
        }
    assert found == expected
