"""What the drills of label have in common: waiting, Ray's processes, and that two runs ended alike."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own, for these tests

from tests.pipelines.label_chats import contents, rows, summary

AGENTS = {"ray::DashboardAgent", "ray::RuntimeEnvAgent", "python"}
"""Helpers of a node that no conversation goes through; they give up a minute after the node."""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def alive(processes: list[psutil.Process]) -> list[str]:
    """Names of those that still run."""
    names = []
    for process in psutil.wait_procs(processes, timeout=0)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(process.name())
    return names


def committed(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.parquet") if not path.name.endswith(".pending.parquet")]


def by_id(output: Path) -> list[dict[str, object]]:
    return sorted(rows(output / "feedback"), key=lambda row: row["row_id"])


def assert_same_run(disturbed: Path, undisturbed: Path) -> None:
    """The same rows to the byte, the same evidence and the same counts."""
    for folder in ("wildfb", "quarantine"):
        assert contents(disturbed / folder) == contents(undisturbed / folder)
    assert by_id(disturbed) == by_id(undisturbed)
    own = {"seconds": 0, "run_id": ""}
    assert summary(disturbed) | own == summary(undisturbed) | own
