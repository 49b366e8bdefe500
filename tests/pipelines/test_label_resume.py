"""kill -9 of the driver in the middle of judging, and the same command again."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests
import pyarrow.parquet as pq
import pytest

from pipelines.label import run
from tests.judge_server import Behaviour, Server, judge_server
from tests.pipelines.label_chats import assert_schemas, openai, settings, write_chats
from tests.pipelines.label_kills import AGENTS, alive, assert_same_run, committed, wait_for
from wildreward.judge.cache import digest

CHATS = {"files": 4, "rows": 60}
TURNS = 2 * 4 * 60


def killed_in_the_middle(chats: Path, output: Path, server: Server) -> set[str]:
    """`label` as a process of its own, killed with -9 when some blocks are written; the row ids that were recorded."""
    config = output.parent / "config.yaml"
    config.write_text(settings(chats, output, **openai(server.url), address="local").to_yaml())
    with (output.parent / "driver.log").open("wb") as log:
        command = [sys.executable, "-m", "pipelines.label", "--config", str(config)]
        driver = subprocess.Popen(command, stdout=log, stderr=log)
    recorded = output / ".state" / "checkpoint"
    try:
        wait_for(
            lambda: (len(committed(recorded)) >= 3 and cached(output)) or driver.poll() is not None,
            "written blocks and kept answers",
        )
        assert driver.poll() is None, (output.parent / "driver.log").read_text()
        workers = psutil.Process(driver.pid).children(recursive=True)
        assert any("JudgeTurns" in name for name in alive(workers))
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    wait_for(
        lambda: not [name for name in alive(workers) if name not in AGENTS], "Ray's processes to end by themselves"
    )
    wait_for(lambda: server.stats.in_flight == 0, "the last requests")
    return {row_id for path in committed(recorded) for row_id in pq.read_table(path).column("row_id").to_pylist()}


@pytest.mark.usefixtures("ray_cluster")
def test_after_kill_9_the_same_command_ends_with_the_rows_of_an_undisturbed_run(tmp_path: Path) -> None:
    chats, killed, whole = write_chats(tmp_path / "chats", **CHATS), tmp_path / "killed", tmp_path / "whole"
    with judge_server(Behaviour(latency_s=0.2)) as server:
        done = killed_in_the_middle(chats, killed, server)
        assert 0 < len(done) < 240
        asked_before, known = server.stats.as_dict()["requests"], len(accounts(killed, done) | cached(killed))
        assert max(2 * len(done), len(cached(killed))) <= known <= asked_before
        run(settings(chats, killed, **openai(server.url)))
        asked_after = server.stats.as_dict()["requests"] - asked_before
    assert asked_after == TURNS - known  # neither what was written nor what was answered is judged again, all else is
    with judge_server() as server:
        run(settings(chats, whole, **openai(server.url)))
    assert_same_run(killed, whole)
    assert_schemas(killed)


def accounts(output: Path, row_ids: set[str]) -> set[bytes]:
    """What the judge cache calls the two turns of each of these conversations."""
    run_name = json.loads((output / ".state" / "feedback.json").read_text())["run"]
    return {digest([run_name, f"{row_id}/{turn}"]) for row_id in row_ids for turn in range(2)}


def cached(output: Path) -> set[bytes]:
    files = (output / ".state" / "judge_cache").glob("*.parquet")
    return {asker for path in files for asker in pq.read_table(path).column("asker").to_pylist()}
