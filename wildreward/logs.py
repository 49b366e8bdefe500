"""What a run says, line by line: as it is (text), or as JSON with time, stage and run id (--log-format json).

In JSON every line of stdout and stderr is an object, on the driver and in the workers of its Ray job, whoever wrote it:
our tables and errors, a library's warning, a trace. Records of Python's logging come with Ray's own fields beside
(job_id, node_id, worker_id, actor_name, task_name; ray.LoggingConfig). Log collectors take such lines as they are.

{"time": "2026-01-31T12:00:00.123Z", "stage": "label", "run_id": "...", "stream": "stdout", "message": "rows: ..."}
"""

import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO, TypeVar

RUN_ID, STAGE, FORMAT = "WILDREWARD_RUN_ID", "WILDREWARD_STAGE", "WILDREWARD_LOG_FORMAT"

RUN_TAG = "run_id"
"""The tag of our Prometheus series that says whose they are."""

AnyMetric = TypeVar("AnyMetric")


def run_id() -> str:
    """Of this process's run, the same on its driver and in its workers; "" outside a run."""
    return os.environ.get(RUN_ID, "")


def of_run(metric: AnyMetric) -> AnyMetric:
    """A metric of `ray.util.metrics` that has RUN_TAG among its tag keys, with this run's id as its value."""
    metric.set_default_tags({RUN_TAG: run_id()})  # type: ignore[attr-defined]  # Ray's base class is typed nowhere
    return metric


def new_run_id() -> str:
    """Sorts by time.

    >>> len(new_run_id())
    22
    """
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


@contextmanager
def logged(stage: str, log_format: str) -> Iterator[None]:
    """A run of `stage` for the length of the block, in this process and those it starts. One inside another keeps the
    outer one's id: a pipeline's stages are one run. WILDREWARD_RUN_ID, where it is set, is the id."""
    before = {name: os.environ.get(name) for name in (RUN_ID, STAGE, FORMAT)}
    os.environ.update({RUN_ID: run_id() or new_run_id(), STAGE: stage, FORMAT: log_format})
    streams = sys.stdout, sys.stderr
    if log_format == "json":
        in_json()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def in_json() -> None:
    """From here on this process writes JSON lines. Ray calls it when a worker starts."""
    if isinstance(sys.stdout, _JsonLines):
        return
    sys.stdout, sys.stderr = _JsonLines(sys.stdout, "stdout"), _JsonLines(sys.stderr, "stderr")


def worker_environment() -> dict[str, str]:
    """Environment variables that carry the run to Ray's workers."""
    return {name: os.environ[name] for name in (RUN_ID, STAGE, FORMAT) if name in os.environ}


def ray_options() -> dict[str, Any]:
    """Arguments of `ray.init` beside the runtime environment: Python's logging as JSON where that was asked for."""
    if os.environ.get(FORMAT) != "json":
        return {}
    import ray

    return {"logging_config": ray.LoggingConfig(encoding="JSON", log_level="WARNING")}


def runtime_environment() -> dict[str, Any]:
    """What the runtime environment of a Ray job holds for it."""
    hook = {"worker_process_setup_hook": "wildreward.logs.in_json"} if os.environ.get(FORMAT) == "json" else {}
    return {"env_vars": worker_environment(), **hook}


class _JsonLines:
    """A text stream that turns whole lines into objects; a line that is one already only gets stage and run id."""

    def __init__(self, stream: TextIO | Any, name: str) -> None:
        self._stream, self._name = stream, name
        self._lock, self._begun = threading.Lock(), ""

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if line.strip():
                    self._stream.write(json_line(line, self._name) + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def json_line(line: str, stream: str) -> str:
    """One line of a log as an object.

    >>> sorted(json.loads(json_line("rows: 3", "stdout")))
    ['message', 'run_id', 'stage', 'stream', 'time']
    >>> json.loads(json_line('{"message": "worker 1", "levelname": "INFO"}', "stderr"))["message"]
    'worker 1'
    """
    said = _object(line) or {"message": line.rstrip()}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    ours = {"time": now, "stage": os.environ.get(STAGE, ""), "run_id": run_id(), "stream": stream}
    return json.dumps(ours | said, ensure_ascii=False, default=str)


def _object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "message" in found else None
