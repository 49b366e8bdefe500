"""Drills on a simulated cluster: several `ray start` nodes here, every stage a job, nodes killed, jobs stopped.

    python -m tests.benchmarks.cluster_drills [stages storage label-kills train-kills dpo-kills stops together]

stages    every stage from a bare checkout, by module or by `wildreward`; what travelled, exit codes, logs
storage   label, train, evaluate, score, serve and dpo with every path on S3 (moto's server on loopback)
...-kills SIGKILL of a worker node (raylet and all of its workers) in the middle of the stage; it ends right
stops     Ctrl-C at the submission and `ray job stop` during label, train, tune, dpo and run; resubmitted, each ends
together  label, train, serve and dpo at once on a cluster that has too few CPUs for all

The head has no CPUs, like that of cluster.yaml. Prints what was seen as lines of JSON, raises where it is not as it
should be. Minutes each; ends only processes that it started.
"""

import argparse
import contextlib
import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tests.benchmarks.cluster_kills import dpo_kills, label_kills, stops, train_kills
from tests.cluster_lab import AT_HOME, Lab, lab, report
from tests.judge_server import Behaviour, judge_server
from tests.pipelines.label_chats import openai, settings, write_chats
from tests.pipelines.label_kills import wait_for
from tests.ray_jobs import finished, free_port, last_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drills", nargs="*", default=list(DRILLS))
    # What a script's shell starts with `&` ignores Ctrl-C, and so would every submission.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in parser.parse_args().drills:
        DRILLS[name]()


# -- every stage as a job


def stages() -> None:
    """In the order of a project's life; each reads what the one before wrote."""
    with lab(2, 2) as here:
        for name, done in STAGES.items():
            begun = time.monotonic()
            said = done(here)
            report(f"stage {name}", seconds=round(time.monotonic() - begun, 1), said=last_line(said))
        exits(here)
        shipped(here)


def _label(here: Lab) -> str:
    config = here.config("label", input=[str(here.data / "conversations")], test_rows=120, hindsight_window_turns=0)
    here.run("label", config, says="rows: ")
    return finished(here.cluster.submit("wildreward", "label", "--config", config, job="label-again"), "nothing to do")


def _agree(here: Lab) -> str:
    command = ("wildreward", "agree", here.out("label"), here.data / "truth.parquet", "--output", here.out("agree"))
    return finished(here.cluster.submit(*command, job="agree"))


def _train(here: Lab) -> str:
    config = here.training("train", here.out("label"), max_steps=60)
    return here.run("train", config, says="asks for 1 training worker")


def _calibrate(here: Lab) -> str:
    checkpoint, labelled = str(here.out("train") / "checkpoint"), [str(here.out("label"))]
    return here.run("calibrate", here.config("calibrate", checkpoint=checkpoint, input=labelled), says="calibration")


def _evaluate(here: Lab) -> str:
    given = {"input": [str(here.out("label"))], "bootstrap": 50}
    for name, source in (("evaluate", "train"), ("evaluate2", "calibrate")):
        config = here.config(name, checkpoint=str(here.out(source) / "checkpoint"), **given)
        said = here.run("evaluate", config, says="different replies")
    return said


def _compare(here: Lab) -> str:
    command = (here.out("evaluate"), here.out("evaluate2"), "--output", here.out("compare"))
    return finished(here.submit("compare", *command, job="compare"))


def _score(here: Lab) -> str:
    checkpoint = str(here.out("train") / "checkpoint")
    config = here.config("score", checkpoint=checkpoint, input=[str(here.out("label") / "wildfb" / "test")])
    return here.run("score", config, says="rows")


def _tune(here: Lab) -> str:
    base = {"backbone": str(here.backbone), "max_tokens": 128, "max_steps": 4, "batch_rows": 16, "threads": 1}
    config = here.config("tune", input=[str(here.out("label"))], base=base, space={"head": ["coral", "independent"]})
    return here.run("tune", config, says="2 trials")


def _serve(here: Lab) -> str:
    """Left running by one job, asked over HTTP and by another job's handle, taken down by a third."""
    port, checkpoint = free_port(), here.out("train") / "checkpoint"
    command = ("wildreward", "serve", "--checkpoint", checkpoint, "--port", port, "--address", "auto", "--detach")
    said = finished(here.cluster.submit(*command, job="serve"), "It stays in the cluster")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/model", timeout=30) as answer:
        assert json.load(answer)["head"] == "coral"
    test = [str(here.out("label") / "wildfb" / "test")]
    here.run("score", here.config("by-handle", handle="wildreward", input=test), says="rows")
    code = "from ray import serve; serve.shutdown()"
    finished(here.cluster.submit("python", "-c", code, job="serve-down"))
    return said


def _dpo(here: Lab) -> str:
    return here.run("dpo", here.improving("dpo"), says="win rate against the start")


def _run(here: Lab) -> str:
    return finished(here.cluster.submit("wildreward", "run", here.pipeline("run"), job="run"), "manifest: ")


STAGES: dict[str, Callable[[Lab], str]] = {
    "label": _label, "agree": _agree, "train": _train, "calibrate": _calibrate, "evaluate": _evaluate,
    "compare": _compare, "score": _score, "tune": _tune, "serve": _serve, "dpo": _dpo, "run": _run,
}  # fmt: skip


def exits(here: Lab) -> None:
    """`ray job submit` ends with 1 for any failure; the job's own exit code is the command's."""
    wrong = ("--jugde", "x")
    finished(here.submit("label", *wrong, job="wrong-flag"), "unrecognized arguments", fails=True)
    relative = ("--input", here.data / "conversations", "--output", "runs/label")
    finished(here.submit("label", *relative, job="relative"), "working directory of a Ray job", fails=True)
    gpu = here.training("no-gpu", here.out("label"), max_steps=2, device="gpu")
    begun = time.monotonic()
    finished(here.submit("train", "--config", gpu, job="no-gpu"), "the largest has 0 GPU", fails=True)
    found = {job: here.cluster.exit_code(job) for job in ("label", "wrong-flag", "relative", "no-gpu")}
    assert found == {"label": 0, "wrong-flag": 2, "relative": 2, "no-gpu": 1}
    assert "unrecognized arguments" in here.cluster.job("logs", "wrong-flag")
    assert "SUCCEEDED" in here.cluster.job("status", "label").upper()
    report("exit codes", codes=found, no_gpu_s=round(time.monotonic() - begun, 1))


def shipped(here: Lab) -> None:
    """What of the checkout is in a job's working directory."""
    code = (
        "import os, pathlib; files = [p for p in pathlib.Path('.').rglob('*') if p.is_file()]; "
        "print('SHIPPED', len(files), sum(p.stat().st_size for p in files), sorted(os.listdir('.')))"
    )
    log = finished(here.cluster.submit("python", "-c", code, job="shipped"), "SHIPPED")
    line = next(line for line in log.splitlines() if line.startswith("SHIPPED"))
    assert not [name for name in AT_HOME if f"'{name.split('/')[0]}'" in line], line
    report("shipped", working_directory=line)


# -- everything on an object store


@contextlib.contextmanager
def s3() -> Iterator[dict[str, str]]:
    """A bucket `drill`; the environment of processes that find it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = keys | {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_EC2_METADATA_DISABLED": "true"}
    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    client.create_bucket(Bucket="drill")
    try:
        yield environment
    finally:
        server.stop()


def storage() -> None:
    """Nothing that one stage hands to the next lies on a disk; models are fetched by the nodes that load them."""
    with s3() as environment, lab(2, 2, environment=environment) as here:
        _upload(environment, here.data / "conversations", "chats")
        _upload(environment, here.backbone, "backbone")
        _upload(environment, here.policy, "policy")
        pipeline = here.pipeline("run", output="s3://drill/run", input=["s3://drill/chats"])
        _with_backbone(pipeline, "s3://drill/backbone")
        run = ("wildreward", "run", pipeline, "--log-format", "json")
        log = finished(here.cluster.submit(*run, job="run"), "manifest: s3://drill/run")
        said = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        assert {item["stage"] for item in said} >= {"run", "label", "train", "evaluate"}
        assert len({item["run_id"] for item in said}) == 1
        report("storage run", said=said[-1]["message"])
        finished(here.cluster.submit(*run, job="again"), "all stages are done")
        outputs = {item["message"].split()[0]: item["message"].split()[-1] for item in said[-4:-1]}
        checkpoint, rows = f"{outputs['train']}/checkpoint", f"{outputs['label']}/wildfb/test"
        score = here.config("score", checkpoint=checkpoint, input=[rows], output="s3://drill/scores")
        report("storage score", said=last_line(here.run("score", score)))
        port = free_port()
        serve = ("wildreward", "serve", "--checkpoint", checkpoint, "--port", port, "--address", "auto", "--detach")
        finished(here.cluster.submit(*serve, job="serve"), "It stays in the cluster")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/model", timeout=30) as answer:
            report("storage serve", model=json.load(answer)["id"])
        given = {
            "checkpoint": checkpoint,
            "policy": "s3://drill/policy",
            "input": [f"{outputs['label']}/wildfb/train"],
            "max_unknown_tokens_frac": 1,
        }
        dpo = here.improving("dpo", output="s3://drill/dpo", **given)
        report("storage dpo", said=last_line(here.run("dpo", dpo)))


def _upload(environment: dict[str, str], folder: Path, name: str) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(
        endpoint_url=environment["AWS_ENDPOINT_URL"], key="test", secret="test", skip_instance_cache=True
    )
    for path in sorted(folder.iterdir()):
        fs.put_file(str(path), f"drill/{name}/{path.name}")


def _with_backbone(pipeline: Path, url: str) -> None:
    values = yaml.safe_load(pipeline.read_text())
    values["stages"]["train"]["backbone"] = url
    pipeline.write_text(yaml.safe_dump(values))


# -- all at once


def together() -> None:
    """Ten CPUs are asked for and six are there: who comes later waits for who has what it needs, and all end."""
    with lab(2, 2, 2) as here, judge_server(Behaviour(latency_s=0.1)) as server:
        rows_of = here.labelled()
        chats = write_chats(here.folder / "chats", files=4, rows=60)
        judged = settings(chats, here.out("judged"), **openai(server.url)).model_dump(mode="json")
        label = here.config("judged", **judged)
        jobs = {
            "label": here.submit("label", "--config", label, job="judged"),
            "train": here.submit(
                "train", "--config", here.training("train", rows_of, max_steps=30, workers=2), job="train"
            ),
            "train2": here.submit(
                "train", "--config", here.training("train2", rows_of, max_steps=30, workers=2), job="train2"
            ),
            "dpo": here.submit("dpo", "--config", here.improving("dpo"), job="dpo"),
            "dpo2": here.submit("dpo", "--config", here.improving("dpo2"), job="dpo2"),
            "serve": here.cluster.submit(
                "wildreward", "serve", "--checkpoint", here.reward_model, "--port", free_port(), "--address", "auto",
                "--detach", job="serve",
            ),
        }  # fmt: skip
        begun = time.monotonic()
        seconds: dict[str, float] = {}
        while len(seconds) < len(jobs):
            wait_for(lambda: any(j.poll() is not None for n, j in jobs.items() if n not in seconds), "a job", 400)
            for name in [n for n, j in jobs.items() if n not in seconds and j.poll() is not None]:
                finished(jobs[name])
                seconds[name] = round(time.monotonic() - begun, 1)
        report("together", ended_after_s=seconds)


DRILLS: dict[str, Callable[[], None]] = {
    "stages": stages,
    "storage": storage,
    "label-kills": label_kills,
    "train-kills": train_kills,
    "dpo-kills": dpo_kills,
    "stops": stops,
    "together": together,
}


if __name__ == "__main__":
    main()
