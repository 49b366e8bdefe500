"""kill -9 of the driver in the middle of judging, and the same command again."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for one test
import pyarrow.parquet as pq
import pytest

from pipelines.label import run
from tests.judge_server import Behaviour, Server, judge_server
from tests.pipelines.label_chats import assert_schemas, contents, openai, rows, settings, summary, write_chats
from wildreward.judge.cache import digest

CHATS = {"files": 4, "rows": 60}
TURNS = 2 * 4 * 60

AGENTS = {"ray::DashboardAgent", "ray::RuntimeEnvAgent", "python"}
"""Helpers of a node that no conversation goes through; they give up a minute after the node."""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


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


def alive(processes: list[psutil.Process]) -> list[str]:
    """Names of those that still run."""
    names = []
    for process in psutil.wait_procs(processes, timeout=0)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(process.name())
    return names


def committed(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.parquet") if not path.name.endswith(".pending.parquet")]


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
    assert contents(killed / "wildfb") == contents(whole / "wildfb")
    assert contents(killed / "quarantine") == contents(whole / "quarantine")
    assert by_id(killed) == by_id(whole)
    assert_schemas(killed)
    with_time, undisturbed = summary(killed), summary(whole)
    assert with_time | {"seconds": 0} == undisturbed | {"seconds": 0}


def accounts(output: Path, row_ids: set[str]) -> set[bytes]:
    """What the judge cache calls the two turns of each of these conversations."""
    run_name = json.loads((output / ".state" / "feedback.json").read_text())["run"]
    return {digest([run_name, f"{row_id}/{turn}"]) for row_id in row_ids for turn in range(2)}


def cached(output: Path) -> set[bytes]:
    files = (output / ".state" / "judge_cache").glob("*.parquet")
    return {asker for path in files for asker in pq.read_table(path).column("asker").to_pylist()}


def by_id(output: Path) -> list[dict[str, object]]:
    return sorted(rows(output / "feedback"), key=lambda row: row["row_id"])
