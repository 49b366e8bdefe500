"""What crashes leave behind, put there by hand: the same command ends as if nothing had happened.

The real kills are in test_label_resume.py (driver) and test_label_faults.py (actor, node).
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray

from pipelines import label
from pipelines.label import run
from tests.judge_server import Server, judge_server
from tests.pipelines.label_chats import contents, openai, rows, settings, summary, write_chats
from tests.pipelines.label_kills import assert_same_run, wait_for
from wildreward import storage

pytestmark = pytest.mark.usefixtures("ray_cluster")


class Undisturbed:
    """A run that nothing happened to, its chats, and the judge it asked."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.chats, self.output, self.server = write_chats(folder / "chats", files=2, rows=60), folder / "out", server
        run(settings(self.chats, self.output, judge_cache="none", **openai(server.url)))

    def settings(self, output: Path) -> Any:
        return settings(self.chats, output, judge_cache="none", **openai(self.server.url))

    def copy(self, folder: Path) -> Path:
        return copytree(self.output, folder / "out")


@pytest.fixture(scope="module")
def whole(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with judge_server() as server:
        yield Undisturbed(tmp_path_factory.mktemp("whole"), server)


def feedback_is_not_done(output: Path) -> None:
    path = output / ".state" / "feedback.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": False}))
    (output / ".state" / "rows.json").unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_files_that_a_crash_left_half_written_are_judged_again_and_no_others(
    tmp_path: Path, whole: Undisturbed
) -> None:
    output = whole.copy(tmp_path)
    feedback_is_not_done(output)
    files = sorted((output / "feedback").glob("*.parquet"))
    records = [output / ".state" / "checkpoint" / f"{path.stem.rpartition('-')[0]}.parquet" for path in files]
    judged_again = [row for path in files[:3] for row in pq.read_table(path).to_pylist()]
    cut(files[0])  # killed while it was written
    records[0].rename(records[0].with_suffix(".pending.parquet"))
    records[1].rename(records[1].with_suffix(".pending.parquet"))  # killed after it, before it was recorded
    files[2].unlink()  # lost by whatever
    leftover = output / "feedback" / f"0_{'f' * 32}_000000-0.parquet"  # of a worker that outlived its driver
    leftover.write_bytes(files[3].read_bytes()[:100])
    before = whole.server.stats.as_dict()["requests"]
    run(whole.settings(output))
    assert whole.server.stats.as_dict()["requests"] - before == sum(len(row["turns"]) for row in judged_again)
    assert not leftover.exists()
    assert_same_run(output, whole.output)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in between catches it, and publishing has nothing that would run on its way."""


def test_a_lost_file_makes_the_feedback_unfinished_even_if_judging_again_is_killed(
    tmp_path: Path, whole: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    output = whole.copy(tmp_path)
    (output / ".state" / "rows.json").unlink()
    min((output / "feedback").glob("*.parquet")).unlink()
    monkeypatch.setattr("pipelines.feedback.write_feedback", killed)
    with pytest.raises(Killed):
        run(whole.settings(output))
    assert json.loads((output / ".state" / "feedback.json").read_text())["done"] is False


def killed_before_step(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            nonlocal done
            if done == number:
                raise Killed
            done += 1
            return step(*given)

        return call

    monkeypatch.setattr(storage, "remove", counted(storage.remove))
    monkeypatch.setattr(storage, "write_text", counted(storage.write_text))
    monkeypatch.setattr(label, "_move", counted(label._move))


def test_killed_at_any_step_of_publishing_the_output_is_no_complete_one_and_the_same_command_completes_it(
    tmp_path: Path, whole: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over an earlier output with other rows, of which no reader may find a half."""
    output = whole.copy(tmp_path)
    other = whole.settings(output).model_copy(update={"class_map": "five", "test_rows": 0})
    run(other)
    earlier, asked = contents(output / "wildfb"), whole.server.stats.as_dict()["requests"]
    new = contents(whole.output / "wildfb")
    assert earlier.keys() != new.keys() or earlier != new
    asked_for = whole.settings(output)
    state, funnel = made(asked_for)
    steps = 0
    while True:
        with monkeypatch.context() as patch:
            killed_before_step(steps, patch)
            try:
                label.publish(asked_for, state, funnel, {"feedback": 0.0, "rows": 0.0})
                break
            except Killed:
                pass
        assert contents(output / "wildfb") in (earlier, {}, new)
        if (output / "summary.json").exists():
            levels = summary(output)["classes"]
            assert set(levels) == {
                str(row["label"]) for side in ("train", "test") for row in rows(output / "wildfb" / side)
            }
        steps += 1
        state, funnel = made(asked_for)
    assert steps >= 8
    run(whole.settings(output))
    assert_same_run(output, whole.output)
    assert whole.server.stats.as_dict()["requests"] == asked


def made(given: Any) -> Any:
    """(state, funnel) just before publishing."""
    from pipelines.label_state import LabelState
    from pipelines.wildfb import write_rows

    state = LabelState.open(given, storage.expand(given.input, [".jsonl"]))
    assert state.feedback_done
    storage.remove(state.staging)
    return state, write_rows(given, state.staging)


def test_killed_while_rows_are_made_the_same_command_makes_them(tmp_path: Path, whole: Undisturbed) -> None:
    """kill -9 of the driver in pass 2, in the midst of staged files."""
    output = whole.copy(tmp_path)
    (output / ".state" / "rows.json").unlink()
    config = tmp_path / "config.yaml"
    address = ray.get_runtime_context().gcs_address
    config.write_text(whole.settings(output).model_copy(update={"address": address}).to_yaml())
    staged = output / ".state" / "staging" / "wildfb"
    driver = subprocess.Popen([sys.executable, "-m", "pipelines.label", "--config", str(config)])
    try:
        wait_for(lambda: staged.exists() or driver.poll() is not None, "staged rows")
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    asked = whole.server.stats.as_dict()["requests"]
    run(whole.settings(output))
    assert_same_run(output, whole.output)
    assert whole.server.stats.as_dict()["requests"] == asked
