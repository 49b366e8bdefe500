"""A Ray cluster of several `ray start` nodes on this machine, and jobs submitted to it as a user submits them.

with JobCluster(folder, workers=2) as cluster:
    job = cluster.submit("python", "-m", "train", "--config", str(path), job="first")
    cluster.kill(cluster.workers[0])
    log = finished(job, code=0)

The head runs drivers and no work (`--num-cpus=0`, as in cluster.yaml). Only processes started here are ended.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx2
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests

from tests.pipelines.label_kills import wait_for
from wildreward.cli import ROOT

BIN = Path(sys.executable).parent
RAYS_WORD = re.compile(r"\b(cli|sdk|dashboard_sdk)\.py:\d+ -- ")
TRIES = 3
PATIENCE_S = 240.0
OBJECT_STORE_BYTES = 120 * 2**20
QUICK_TO_NOTICE = '{"health_check_period_ms": 1000, "health_check_failure_threshold": 10}'
"""A lost node is given up after 10 s, not after Ray's half a minute: drills wait for it. A busy machine may be slow to
answer too."""


@dataclass
class Node:
    """A `ray start --block` of ours, and the raylet under it."""

    process: subprocess.Popen[str]
    resources: Mapping[str, float]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def processes(self) -> list[psutil.Process]:
        """Raylet, agents and workers."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def runs(self, name: str) -> bool:
        """Whether one of its processes has this in its title: Ray's workers are called after what they do."""
        return any(name in _title(process) for process in self.processes())


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


@dataclass
class JobCluster:
    """A head without CPUs and worker nodes with theirs."""

    folder: Path
    workers_cpus: Sequence[float] = (2, 2)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of all nodes and jobs, beside this process's."""
    checkout: Path = ROOT
    workers: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port, self.dashboard = free_port(), free_port()
        self.head: Node | None = None
        self.token = secrets.token_hex(32)
        """Of this cluster alone: without one `ray start` takes a token from the home directory, and clients may not."""
        self._nodes = tempfile.TemporaryDirectory(prefix="nodes", ignore_cleanup_errors=True)
        """A directory of its own for each worker node: it unpacks a job's working directory anew, over what another
        would read. Not below `folder`, as a socket's path has at most 107 bytes."""

    @property
    def address(self) -> str:
        """Of the job server."""
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def gcs_address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        options = [
            "--head", f"--port={self.port}", f"--dashboard-port={self.dashboard}", "--num-cpus=0",
            f"--temp-dir={self.folder}", f"--ray-client-server-port={free_port()}",
            f"--system-config={QUICK_TO_NOTICE}",
        ]  # fmt: skip
        try:
            self._start_head(options)
            for cpus in self.workers_cpus:
                self.add({"CPU": cpus})
            wait_for(self._takes_jobs, "the agent that starts jobs", PATIENCE_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_head(self, options: Sequence[str]) -> None:
        """On a busy machine Ray's own processes may wait too little for one another at the first try."""
        for _ in range(TRIES):
            self.head = head = self._start(options, {})
            wait_for(partial(self._answers, head), "the dashboard", PATIENCE_S)
            if not head.ended:
                return
            said = head.process.communicate()[0]
        raise AssertionError(said)

    def _answers(self, head: Node) -> bool:
        return head.ended or listens(self.dashboard)

    def __exit__(self, *error: Any) -> None:
        for node in [*self.workers, *([self.head] if self.head else [])]:
            self.kill(node)
        self._nodes.cleanup()

    def add(self, resources: Mapping[str, float]) -> Node:
        """A worker node of these resources; returns when it is part of the cluster. One by one: two that start at once
        on one machine may choose the same ports, and a busy machine may be too slow for Ray at the first try."""
        amounts = [f"--num-cpus={resources.get('CPU', 0):g}", f"--num-gpus={resources.get('GPU', 0):g}"]
        there = self._alive()
        for _ in range(TRIES):
            own = tempfile.mkdtemp(prefix="", dir=self._nodes.name)
            node = self._start([f"--address={self.gcs_address}", f"--temp-dir={own}", *amounts], resources)
            wait_for(partial(self._joined, node, there), "a node", PATIENCE_S)
            if not node.ended:
                self.workers.append(node)
                return node
        raise AssertionError(node.process.communicate()[0])

    def _joined(self, node: Node, there: int) -> bool:
        return node.ended or self._alive() > there

    def _takes_jobs(self) -> bool:
        """By one that does nothing: the job server is there some seconds before the agent that it hands jobs to."""
        return self._ask("POST", "/api/jobs/", json={"entrypoint": "true"}).status_code == 200

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.request(method, f"{self.address}{path}", headers=headers, timeout=30, **options)

    def _alive(self) -> int:
        answer = self._ask("GET", "/nodes?view=summary").raise_for_status()
        return sum(node["raylet"]["state"] == "ALIVE" for node in answer.json()["data"]["summary"])

    def _start(self, options: Sequence[str], resources: Mapping[str, float]) -> Node:
        common = ["--block", "--disable-usage-stats", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        # Ray's fixed port for the agent is another cluster's on a machine that has one, and jobs need an agent.
        ports = [f"--metrics-export-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
        command = [str(BIN / "ray"), "start", *options, *common, *ports]
        return Node(self.started(command, Path("/")), resources)

    def kill(self, node: Node) -> None:
        """SIGKILL to a node's raylet, its workers and whatever else it runs, at once."""
        victims = node.processes()
        for process in victims if node.ended else [psutil.Process(node.process.pid), *victims]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(victims, timeout=10)
        node.process.wait()
        if node in self.workers:
            self.workers.remove(node)

    def started(self, command: Sequence[Any], cwd: Path) -> subprocess.Popen[str]:
        """A process of a user whose PATH has the virtual environment, and whose PYTHONPATH has no checkout."""
        environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "RAY_ADDRESS"}}
        environment |= {"PATH": f"{BIN}:{environment['PATH']}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        return subprocess.Popen(
            [str(part) for part in command], cwd=cwd, env=environment | dict(self.environment), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def submit(self, *entrypoint: Any, job: str, wait: bool = True) -> subprocess.Popen[str]:
        """`ray job submit --working-dir . -- ENTRYPOINT` from the checkout; the process shows the job's log."""
        command = ["ray", "job", "submit", "--address", self.address, "--submission-id", job, "--working-dir", "."]
        return self.started([*command, *([] if wait else ["--no-wait"]), "--", *entrypoint], self.checkout)

    def job(self, verb: str, job: str) -> str:
        """What `ray job status`, `logs` or `stop` says."""
        return self.started(["ray", "job", verb, "--address", self.address, job], Path("/")).communicate()[0]

    def exit_code(self, job: str) -> int | None:
        """Of the command itself, as the dashboard has it; `ray job submit` ends with 1 for any failure."""
        code = (
            "import sys; from ray.job_submission import JobSubmissionClient as C; "
            "print('CODE', C(sys.argv[1]).get_job_info(sys.argv[2]).driver_exit_code)"
        )
        said = self.started([sys.executable, "-c", code, self.address, job], Path("/")).communicate()[0]
        word = next(line for line in said.splitlines() if line.startswith("CODE")).split()[1]
        return None if word == "None" else int(word)


def finished(job: subprocess.Popen[str], says: str = "", fails: bool = False) -> str:
    """The log of a job that ends as it should. Raises AssertionError with the log."""
    log = job.communicate()[0]
    assert (job.returncode != 0) == fails, log
    assert says in log, log
    return log


def last_line(text: str) -> str:
    """The last that the command said, before Ray's word on the job."""
    return [line for line in text.splitlines() if line.strip() and not RAYS_WORD.search(line)][-1].strip()


def bare_checkout(folder: Path, at_home: Sequence[str] = ()) -> Path:
    """The tracked files of this tree, and files as named in `at_home`, which no job should get."""
    said = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in said.split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name in at_home:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
