"""What happens to stages on a simulated cluster when a node dies or a job is stopped: drills of cluster_drills.py."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster_lab import Lab, lab, report
from tests.judge_server import Behaviour, judge_server
from tests.pipelines.label_chats import openai, rows, settings, write_chats
from tests.pipelines.label_kills import assert_same_run, committed, wait_for
from tests.ray_jobs import Node, finished, last_line


def label_kills() -> None:
    _killed_while_labelling()


def train_kills() -> None:
    _killed_while_training(replaced=False)
    _killed_while_training(replaced=True)


def dpo_kills() -> None:
    for role in ("Learner", "RolloutWorker"):
        _killed_while_improving(role)


def _killed_while_labelling() -> None:
    with lab(2, 2) as here, judge_server(Behaviour(latency_s=0.2)) as server:
        chats = write_chats(here.folder / "chats", files=4, rows=60)

        def labelling(name: str) -> Path:
            given = settings(chats, here.out(name), **openai(server.url)).model_dump(mode="json")
            return here.config(name, **given)

        here.run("label", labelling("whole"), says="rows: ")
        job = here.submit("label", "--config", labelling("killed"), job="killed")
        blocks = here.out("killed") / ".state" / "checkpoint"
        wait_for(lambda: len(committed(blocks)) >= 3 or job.poll() is not None, "written blocks", 240)
        written = len(committed(blocks))
        here.cluster.kill(node_of(here, "JudgeTurns") or here.cluster.workers[0])
        begun = time.monotonic()
        log = finished(job, "rows: ")
        assert_same_run(here.out("killed"), here.out("whole"))
        ids = [row["row_id"] for row in rows(here.out("killed") / "feedback")]
        assert len(ids) == len(set(ids)) == 240
        report(
            "node killed during label", blocks_before=written, seconds_after=round(time.monotonic() - begun, 1),
            rows="as undisturbed, to the byte", said=last_line(log),
        )  # fmt: skip


def _killed_while_training(replaced: bool) -> None:
    """The node of all workers is lost: on the one that is left, or on one that comes later, as by an autoscaler."""
    with lab(*((2,) if replaced else (2, 2))) as here:
        rows_of = here.labelled()
        plan = {"max_steps": 60, "evaluate_every_steps": 3, "workers": 2, "zero_stage": 2}
        here.run("train", here.training("whole", rows_of, **plan))
        job = here.submit("train", "--config", here.training("killed", rows_of, **plan), job="killed")
        wait_for_step(here.out("killed"), 9, job)
        victim = node_of(here, "RayTrainWorker")
        assert victim is not None
        step = saved_step(here.out("killed"))
        here.cluster.kill(victim)
        begun = time.monotonic()
        if replaced:
            here.cluster.add({"CPU": 2})
        log, times = ended(job, here, "train", "killed")
        same = same_bytes(here, "last/model.safetensors")
        assert same, log
        what = "the only node, replaced" if replaced else "a node"
        report(
            f"{what} killed during train", saved_step=step, seconds_after=round(time.monotonic() - begun, 1),
            submissions=times, weights="bit-equal to undisturbed", said=last_line(log),
        )  # fmt: skip


def _killed_while_improving(role: str) -> None:
    """The actors are on two of three nodes; killed is the one with this role on it."""
    with lab(1, 1, 1) as here:
        plan = {"steps": 30, "checkpoint_every_steps": 2}
        here.run("dpo", here.improving("whole", **plan))
        job = here.submit("dpo", "--config", here.improving("killed", **plan), job="killed")
        reached = here.out("killed") / "checkpoints" / "step_000004"
        wait_for(lambda: reached.exists() or job.poll() is not None, "a checkpoint", seconds=240)
        victim = node_of(here, role)
        assert victim is not None, job.communicate()[0] if job.poll() is not None else role
        here.cluster.kill(victim)
        begun = time.monotonic()
        log, times = ended(job, here, "dpo", "killed")
        same = same_bytes(here, "policy/model.safetensors")
        assert same, log
        report(
            f"node of {role} killed during dpo", seconds_after=round(time.monotonic() - begun, 1),
            submissions=times, weights="bit-equal to undisturbed", said=last_line(log),
        )  # fmt: skip


def ended(job: subprocess.Popen[str], here: Lab, stage: str, name: str) -> tuple[str, int]:
    """The log of the submission that ended well, and which it was: a job may fail if it says how to go on."""
    log = job.communicate()[0]
    if job.returncode == 0:
        return log, 1
    assert "the same command continues" in log, log
    return here.run(stage, here.folder / f"{name}.yaml", job=f"{name}-again"), 2


def same_bytes(here: Lab, name: str) -> bool:
    return (here.out("killed") / name).read_bytes() == (here.out("whole") / name).read_bytes()


def node_of(here: Lab, name: str) -> Node | None:
    """The worker node that runs such a process."""
    return next((node for node in here.cluster.workers if node.runs(name)), None)


def saved_step(output: Path) -> int:
    return max((int(path.name[5:11]) for path in output.glob("run/ckpt_*")), default=0)


def wait_for_step(output: Path, step: int, job: subprocess.Popen[str]) -> None:
    wait_for(lambda: saved_step(output) >= step or job.poll() is not None, f"step {step}", seconds=240)
    assert job.poll() is None, job.communicate()[0]


# -- a job is stopped


def stops() -> None:
    with lab(2, 2) as here, judge_server(Behaviour(latency_s=1.0)) as server:
        chats = write_chats(here.folder / "chats", files=4, rows=60)
        given = settings(chats, here.out("label"), **openai(server.url)).model_dump(mode="json")
        blocks = here.out("label") / ".state" / "checkpoint"
        _stopped(here, "label", here.config("label", **given), lambda: len(committed(blocks)) >= 1)
        rows_of = here.out("label")
        train = here.training("train", rows_of, max_steps=60, evaluate_every_steps=3)
        _stopped(here, "train", train, lambda: saved_step(here.out("train")) >= 9)
        base = {"backbone": str(here.backbone), "max_steps": 60, "evaluate_every_steps": 5, "batch_rows": 16}
        base |= {"max_tokens": 128, "threads": 1}
        space = {"head": ["coral", "independent"]}
        tune = here.config("tune", input=[str(rows_of)], base=base, space=space, max_concurrent_trials=1)
        _stopped(here, "tune", tune, lambda: bool(list(here.out("tune").glob("trials/*/evaluations*"))))
        dpo = here.improving("dpo", steps=200, checkpoint_every_steps=2)
        _stopped(here, "dpo", dpo, (here.out("dpo") / "checkpoints" / "step_000004").exists)
        run = here.pipeline("run", steps=60)
        trained = here.out("run")
        _stopped(here, "run", run, lambda: bool(list(trained.glob("train-*/run/ckpt_*"))))
        states = {name: entry["state"] for name, entry in _manifest(trained).items()}
        assert set(states.values()) == {"done"}, states


def _manifest(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "manifest.json").read_text())["stages"]
    return found


def _stopped(here: Lab, stage: str, config: Path, far_enough: Callable[[], bool]) -> None:
    """Ctrl-C at the submission leaves the job running, `ray job stop` ends it, and the same submission finishes it."""
    command = ("wildreward", "run", config) if stage == "run" else None

    def submit(job: str) -> subprocess.Popen[str]:
        return here.cluster.submit(*command, job=job) if command else here.submit(stage, "--config", config, job=job)

    job = submit(f"{stage}-first")
    wait_for(lambda: far_enough() or job.poll() is not None, f"{stage} on its way", seconds=240)
    assert job.poll() is None, job.communicate()[0]
    job.send_signal(signal.SIGINT)
    job.communicate(timeout=30)
    _has_status(here, f"{stage}-first", "RUNNING")
    begun = time.monotonic()
    here.cluster.job("stop", f"{stage}-first")
    stopped_s = round(time.monotonic() - begun, 1)
    _has_status(here, f"{stage}-first", "STOPPED")
    log = finished(submit(f"{stage}-second"))
    report(f"{stage} stopped", stop_s=stopped_s, again_s=round(time.monotonic() - begun, 1), said=last_line(log))


def _has_status(here: Lab, job: str, status: str) -> None:
    said = here.cluster.job("status", job)
    assert status in said.upper(), f"{said}\n{here.cluster.job('logs', job)}"
