"""Drill: `ray job submit` of label from a bare checkout on a real `ray start --head` cluster; stopped, and finished.

    python -m tests.benchmarks.label_job

A cluster of its own on free ports, a checkout made by `git archive` (with a .git, .venv and runs/ that must stay at
home), a judge with latency. The job is stopped by `ray job stop` in the middle of judging, and the same submission
finishes it; both forms of the command and a wrong flag are submitted too. Takes a minute or two; prints what was seen,
raises where it is not as it should be. Ends only processes that it started.
"""

import contextlib
import io
import json
import os
import secrets
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.judge_server import Behaviour, judge_server
from tests.pipelines.label_chats import openai, settings, write_chats
from tests.pipelines.label_kills import committed, wait_for
from wildreward.cli import ROOT

BIN = Path(sys.executable).parent
AT_HOME = (".git/objects/pack", ".venv/lib/big", "runs/label/rows")
CHATS = {"files": 4, "rows": 60}
TOKEN = secrets.token_hex(32)
"""Of this cluster alone. Without one `ray start` takes a token from the home directory, and its clients may not."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ray_head(Path(name, "ray")) as address:
        folder = Path(name)
        checkout = bare_checkout(folder / "checkout")
        with judge_server(Behaviour(latency_s=0.2)) as server:
            chats, output = write_chats(folder / "chats", **CHATS), folder / "out"
            config = folder / "label.yaml"
            given = settings(chats, output, **openai(server.url))
            config.write_text(given.to_yaml())

            def submit(*entrypoint: str, job: str) -> subprocess.Popen[str]:
                command = [BIN / "ray", "job", "submit", "--address", address, "--submission-id", job]
                return started([*command, "--working-dir", ".", "--", *entrypoint], checkout)

            label = ("python", "-m", "pipelines.label", "--config", str(config))
            report("stopped in the middle", stopped(submit(*label, job="first"), address, output))
            before = len(committed(output / ".state" / "checkpoint"))
            asked = server.stats.as_dict()["requests"]
            report("the same submission", finished(submit(*label, job="second"), 0, "rows: "))
            again = server.stats.as_dict()["requests"] - asked
            # What dying workers still ask is counted after the stop: at most what was in flight.
            assert 0 <= again - 2 * (240 - 16 * before) <= 2 * given.judge_concurrency
            report("judged", {"blocks written at stop": before, "requests then": asked, "requests after": again})
            wildreward = ("wildreward", "label", "--config", str(config))
            report("wildreward label", finished(submit(*wildreward, job="fourth"), 0, "nothing to do"))
            report("wrong flag", finished(submit(*label, "--jugde", "x", job="fifth"), 1, "unrecognized arguments"))
            relative = ("python", "-m", "pipelines.label", "--input", str(chats), "--output", "runs/label")
            report("relative output", finished(submit(*relative, job="sixth"), 1, "working directory of a Ray job"))
            report("shipped", shipped(submit))


def report(what: str, found: Any) -> None:
    print(f"{what}: {json.dumps(found)}", flush=True)


@contextlib.contextmanager
def ray_head(folder: Path) -> Iterator[str]:
    """A cluster started as a user starts one; gives the address of its job server."""
    port, dashboard = free_port(), free_port()
    command = [BIN / "ray", "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}"]
    options = [
        "--num-cpus=4",
        f"--temp-dir={folder}",
        f"--ray-client-server-port={free_port()}",
        "--disable-usage-stats",
    ]
    head = started([*command, *options], Path("/"))
    address = f"http://127.0.0.1:{dashboard}"
    try:
        wait_for(lambda: head.poll() is not None or listens(dashboard), "the dashboard")
        assert head.poll() is None, head.communicate()[0]
        yield address
    finally:
        head.terminate()
        head.wait()


def started(command: list[Any], cwd: Path) -> subprocess.Popen[str]:
    """A process of a user whose PATH has the virtual environment, and whose PYTHONPATH has no checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "RAY_ADDRESS"}}
    environment |= {"PATH": f"{BIN}:{environment['PATH']}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    command = [str(part) for part in command]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def stopped(job: subprocess.Popen[str], address: str, output: Path) -> dict[str, Any]:
    records = output / ".state" / "checkpoint"
    wait_for(lambda: len(committed(records)) >= 3 or job.poll() is not None, "written blocks")
    assert job.poll() is None, job.communicate()[0]
    begun = time.monotonic()
    stop = started([BIN / "ray", "job", "stop", "--address", address, "first"], Path("/")).communicate()[0]
    seconds = round(time.monotonic() - begun, 1)
    log = job.communicate()[0]
    assert not (output / "summary.json").exists()
    return {"stop_s": seconds, "stop said": last_line(stop), "submit rc": job.returncode, "said": last_line(log)}


def finished(job: subprocess.Popen[str], code: int, says: str) -> dict[str, Any]:
    begun = time.monotonic()
    log = job.communicate()[0]
    assert says in log, log
    assert (job.returncode == 0) == (code == 0), log
    return {"rc": job.returncode, "seconds": round(time.monotonic() - begun, 1), "said": last_line(log)}


def shipped(submit: Callable[..., subprocess.Popen[str]]) -> dict[str, Any]:
    """What of the checkout is in the job's working directory."""
    code = "import os; print('SHIPPED', sum(len(f) for _, _, f in os.walk('.')), sorted(os.listdir('.')))"
    log = submit("python", "-c", code, job="seventh").communicate()[0]
    line = next(line for line in log.splitlines() if line.startswith("SHIPPED"))
    assert not [name for name in AT_HOME if f"'{name.split('/')[0]}'" in line], line
    return {"working directory": line}


def last_line(text: str) -> str:
    return [line for line in text.splitlines() if line.strip()][-1].strip()


def bare_checkout(folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    for name in AT_HOME:
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 1000)
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
