"""Lines as JSON: every one an object with stage and run id, on the driver and in the workers of its Ray job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wildreward.logs import RUN_ID, json_line, logged, run_id


def test_a_run_inside_another_keeps_its_id_and_has_its_own_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with logged("run", "json"):
        outer = run_id()
        print("plan")
        with logged("train", "json"):
            assert run_id() == outer
            print("step 1\n\nstep", 2, end="")
            print("", flush=True)
    assert run_id() == ""
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(item["stage"], item["message"]) for item in said] == [
        ("run", "plan"), ("train", "step 1"), ("train", "step 2"),
    ]  # fmt: skip
    assert {item["run_id"] for item in said} == {outer}


def test_text_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    with logged("label", "text"):
        print("rows: 3")
        assert run_id()
    assert capsys.readouterr().out == "rows: 3\n"


def test_an_id_from_outside_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_ID, "nightly-7")
    with logged("label", "text"):
        assert run_id() == "nightly-7"


def test_objects_keep_what_they_say_and_other_braces_are_text() -> None:
    assert json.loads(json_line('{"message": "m", "levelname": "INFO", "node_id": "n"}', "stderr"))["node_id"] == "n"
    for text in ('{"loss": 0.5}', "{'not': 'json'}", "[1, 2]"):
        assert json.loads(json_line(text, "stdout"))["message"] == text


WORKER = """
import sys, ray
from wildreward.cluster import cluster
from wildreward.logs import logged

@ray.remote
def work():
    import logging
    print("said by a worker", flush=True)
    logging.getLogger("some.library").warning("warned by a worker")

with logged("score", "json"), cluster("local"):
    ray.get(work.remote())
    print("session", ray._private.worker.global_worker.node.get_logs_dir_path())
"""


def test_workers_write_objects_with_the_run_of_their_driver(tmp_path: Path) -> None:
    """Into the files that Ray keeps of them, which log collectors read."""
    environment = os.environ | {RUN_ID: "nightly-8"}
    done = subprocess.run(
        [sys.executable, "-c", WORKER], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    logs = Path(json.loads(done.stdout.splitlines()[-1])["message"].removeprefix("session "))
    found = []
    for path in [*logs.glob("worker-*.out"), *logs.glob("worker-*.err")]:
        found += [json.loads(line) for line in path.read_text().splitlines() if "by a worker" in line]
    assert {item["message"] for item in found} == {"said by a worker", "warned by a worker"}
    assert {(item["stage"], item["run_id"]) for item in found} == {("score", "nightly-8")}
    [warned] = [item for item in found if item["message"].startswith("warned")]
    assert (warned["levelname"], warned["task_name"]) == ("WARNING", "work")
