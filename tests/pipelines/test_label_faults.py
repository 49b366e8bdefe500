"""kill -9 of a judge actor, then of the worker node it runs on, in the middle of judging: the run goes on by itself."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests
import pyarrow.parquet as pq
import pytest

from pipelines.judging import turn_text
from pipelines.label import run
from tests.judge_server import Behaviour, Stats, judge_server, question_id
from tests.pipelines.label_chats import openai, rows, settings, write_chats
from tests.pipelines.label_kills import assert_same_run, committed, wait_for
from wildreward.judge.prompts import feedback_messages

CHATS = {"files": 4, "rows": 60}


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A head that cannot hold the judge (it asks for a GPU, which here is only a name) and two workers that can."""
    from ray.cluster_utils import Cluster

    quick_to_notice = {"health_check_period_ms": 300, "health_check_failure_threshold": 2}
    memory = {"object_store_memory": 100 * 2**20}
    head = {"num_cpus": 2, "include_dashboard": False, "_system_config": quick_to_notice, **memory}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(wait=False, num_cpus=2, num_gpus=1, **memory)
    yield cluster
    cluster.shutdown()


def judge_process() -> psutil.Process | None:
    """The judge actor; its parent is the raylet of its node."""
    found = [process for process in psutil.Process().children(recursive=True) if "JudgeTurns" in process.name()]
    return found[0] if found else None


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, f"the end of {process}")


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_judge_and_a_killed_node_cost_what_was_not_written_and_nothing_else(
    tmp_path: Path, nodes: Any
) -> None:
    chats, disturbed, whole = write_chats(tmp_path / "chats", **CHATS), tmp_path / "disturbed", tmp_path / "whole"
    records = disturbed / ".state" / "checkpoint"
    config = tmp_path / "config.yaml"
    with judge_server(Behaviour(latency_s=0.2)) as server, (tmp_path / "driver.log").open("wb") as log:
        given = settings(chats, disturbed, **openai(server.url), judge_gpus_per_actor=1, address=nodes.address)
        config.write_text(given.to_yaml())
        command = [sys.executable, "-m", "pipelines.label", "--config", str(config)]
        driver = subprocess.Popen(command, stdout=log, stderr=log)

        def written(blocks: int) -> list[Path]:
            wait_for(lambda: len(committed(records)) >= blocks or driver.poll() is not None, f"{blocks} written blocks")
            assert driver.poll() is None, (tmp_path / "driver.log").read_text()
            return committed(records)

        try:
            first = written(2)
            after_first = server.stats.answered.copy()
            judge = judge_process()
            assert judge is not None
            kill(judge)
            second = written(len(first) + 3)
            after_second = server.stats.answered.copy()
            judge = judge_process()
            assert judge is not None
            raylet = judge.parent()
            assert raylet is not None
            assert raylet.name() == "raylet"
            kill(raylet)
            assert driver.wait(timeout=120) == 0, (tmp_path / "driver.log").read_text()
        finally:
            driver.kill()
            driver.wait()
        assert len(committed(records)) > len(second)
        assert answered_since(after_first, server.stats, first, disturbed) == 0
        assert answered_since(after_second, server.stats, second, disturbed) == 0
    with judge_server() as server:
        run(settings(chats, whole, **openai(server.url)))
    assert_same_run(disturbed, whole)


def answered_since(before: Counter[str], stats: Stats, records: list[Path], output: Path) -> int:
    """How many answers about conversations that were already written were given after `before`."""
    recorded = {row_id for path in records for row_id in pq.read_table(path).column("row_id").to_pylist()}
    questions = [
        question_id(feedback_messages(turn_text(row, turn), 0))
        for row in rows(output / "feedback")
        if row["row_id"] in recorded
        for turn in row["turns"]
    ]
    assert len(questions) == 2 * len(recorded) > 0
    assert all(before[question] for question in questions)
    return sum(stats.answered[question] - before[question] for question in questions)
