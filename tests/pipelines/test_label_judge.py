"""label with the HTTP judge: faults counted to the last request, keys that stay where they were, an outage."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.judging import turn_text
from pipelines.label import run
from tests.judge_server import Behaviour, Server, judge_server
from tests.pipelines.label_chats import openai, rows, settings, summary, write_chats
from tests.wildreward.judge.asking import requests
from wildreward.errors import JudgeError
from wildreward.judge.lexicon import read_feedback

KEY = "sk-a-secret-of-the-test"


@pytest.fixture
def ray_logs() -> Iterator[Path]:
    """A new place for Ray's files; sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="wr") as folder:
        yield Path(folder)


def test_every_request_and_turn_is_counted_under_faults_and_the_key_is_nowhere(tmp_path: Path, ray_logs: Path) -> None:
    faults = Behaviour(
        error_frac=0.1, limit_frac=0.05, garbage_frac=0.05, retry_after_s=0.01, logprobs=True, api_key=KEY,
        latency_s=0.002,
    )  # fmt: skip
    chats, output = write_chats(tmp_path / "chats", rows=60), tmp_path / "out"
    with judge_server(faults) as server, judge_server(Behaviour(api_key="another")) as stranger:
        given = openai(server.url) | {"judge_url": [server.url, stranger.url], "judge_logprobs": True}
        limits = {"judge_requests_per_minute": 60_000, "judge_tokens_per_minute": 60_000_000, "judge_actors": 2}
        config = tmp_path / "config.yaml"
        config.write_text(settings(chats, output, **given, **limits, address="local").to_yaml())
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.label", "--config", str(config)],
            env=os.environ | {"OPENAI_API_KEY": KEY, "RAY_TMPDIR": str(ray_logs)},
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_labels(output, server, stranger)
    assert f"{stranger.url} is out for the rest of the run: HTTP 401: Incorrect API key provided: " in done.stderr
    assert f"warning: {stranger.url} is out" in done.stdout
    assert f"judge: {requests(server) + requests(stranger)} requests" in done.stdout
    assert f"tried again after http_500: {server.stats.outcomes['error']}" in done.stdout
    assert "level_probs: 240 of 240 labelled turns\n" in done.stdout
    written = [path for folder in (output, ray_logs) for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout + done.stderr


def check_labels(output: Path, *servers: Server) -> None:
    """Each label is what the server's rule says of that turn, and what was asked is what was answered and counted."""
    counts = summary(output)
    assert counts["turns"] == {"in": 240, "labelled": 240, "errors": {}}
    attempts = 0
    for row in rows(output / "feedback"):
        for turn in row["turns"]:
            assert turn["level"] == read_feedback(turn_text(row, turn)).level
            assert sum(turn["level_probs"]) == pytest.approx(1)
            assert turn["level_probs"][turn["level"] - 1] == pytest.approx(0.9, abs=1e-3)
            attempts += turn["attempts"]
    assert attempts == counts["judge"]["attempts"] == sum(map(requests, servers)) > 260


@pytest.mark.usefixtures("ray_cluster")
def test_a_judge_that_stays_down_stops_the_run_which_is_then_resumed_without_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    with judge_server(Behaviour(status=503)) as server:
        given = openai(server.url)
        with pytest.raises(
            JudgeError, match=r"(?s)nothing was answered for 3 s: .*503.*same command again to continue"
        ):
            run(settings(chats, output, **given, judge_max_outage_s=3.0))
        assert "the judge does not answer, waiting (1 of at most 3 s)" in capsys.readouterr().err
        server.behave(Behaviour())
        run(settings(chats, output, **given))
    assert summary(output)["turns"] == {"in": 80, "labelled": 80, "errors": {}}
