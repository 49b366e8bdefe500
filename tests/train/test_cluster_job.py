"""Jobs on two `ray start` nodes and a head without CPUs: a path that other nodes do not see is refused, and a training
whose node is killed goes on at the other. All drills: python -m tests.benchmarks.cluster_drills.

    WILDREWARD_CLUSTER_TESTS=1 python -m pytest tests/train/test_cluster_job.py

On demand: beside other tests on two cores Ray's own head may not start in the time that its processes give one another.
"""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.label_kills import wait_for
from tests.ray_jobs import JobCluster, finished

STEPS = 24

pytestmark = pytest.mark.skipif("WILDREWARD_CLUSTER_TESTS" not in os.environ, reason="three nodes: run on demand")


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobCluster]:
    with JobCluster(tmp_path_factory.mktemp("ray"), workers_cpus=(1, 1)) as made:
        yield made


def saved_step(output: Path) -> int:
    return max((int(path.name[5:11]) for path in output.glob("run/ckpt_*")), default=0)


def test_a_local_path_is_refused_and_a_training_outlives_its_node(
    cluster: JobCluster, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    output, config = tmp_path / "out", tmp_path / "train.yaml"
    given = tiny_settings | {"input": list(tiny_settings["input"]), "max_steps": STEPS, "evaluate_every_steps": 2}
    config.write_text(yaml.safe_dump(given))
    train = ["python", "-m", "train", "--config", str(config)]
    job = cluster.submit(*train, "--output", str(output), job="trained")
    # To another process its working directory is another one: a path that nodes do not share, without another machine.
    elsewhere = shlex.join([*train, "--output", "/proc/self/cwd/out", "--log-format", "json"])
    refused = cluster.submit("sh", "-c", f"cd {tmp_path} && {elsewhere}", job="refused")
    wait_for(lambda: saved_step(output) >= 6 or job.poll() is not None, "three checkpoints", seconds=120)
    assert job.poll() is None, job.communicate()[0]
    victim = next(node for node in cluster.workers if node.runs("RayTrainWorker"))
    cluster.kill(victim)
    finished(job, "training: continues after step")
    steps = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["kind"] == "train"] == list(range(1, STEPS + 1))
    assert_refused(finished(refused, "--output /proc/self", fails=True))
    assert cluster.exit_code("refused") == 1


def assert_refused(log: str) -> None:
    said = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    error, *_ = [item for item in said if "does not see it" in item["message"]]  # Ray shows the end of a log twice
    assert (error["stage"], error["stream"], bool(error["run_id"])) == ("train", "stderr", True)
    assert "there it is not" in error["message"]
    assert "Give s3://, gs://, hf:// or a directory on a disk that all nodes share" in error["message"]
