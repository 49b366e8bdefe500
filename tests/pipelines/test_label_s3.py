"""Input and output on S3, against a real S3 endpoint on loopback: a run, the same after a crash, and once more."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.judge_server import judge_server
from tests.pipelines.label_chats import openai, settings, write_chats
from tests.s3 import s3_client, s3_endpoint
from wildreward import storage
from wildreward.judge import cache_segments as segments
from wildreward.judge.cache import MERGE_FILES, JudgeCache, digest

OUT = "s3://chats/out"


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    """Environment of a process that finds the bucket `chats`."""
    with s3_endpoint("chats") as environment:
        yield environment


def test_chats_in_a_bucket_become_rows_in_a_bucket_a_crash_changes_nothing_and_a_third_run_has_nothing_to_do(
    tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = s3_client(s3)
    for path in write_chats(tmp_path / "chats").glob("*.jsonl"):
        client.upload_file(str(path), "chats", f"in/{path.name}")
    config = tmp_path / "config.yaml"
    code = "import sys; from tests.pipelines.test_label_s3 import three_runs; three_runs(sys.argv[1])"
    command = [sys.executable, "-c", code, str(config)]
    with judge_server() as server:
        asked = settings("s3://chats/in", OUT, address="local", export=["jsonl"], **openai(server.url))
        config.write_text(asked.to_yaml())
        done = subprocess.run(command, env=os.environ | s3, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing to do") == 1
    found = [item["Key"] for item in client.list_objects_v2(Bucket="chats", Prefix="out/")["Contents"]]
    written = {"feedback", "wildfb", "quarantine", "export", "summary.json", "report.html", "README.md"}
    assert {name.split("/")[1] for name in found} > written
    assert not [name for name in found if "staging" in name or "pending" in name]
    summary = json.loads(client.get_object(Bucket="chats", Key="out/summary.json")["Body"].read())
    exported = [
        client.get_object(Bucket="chats", Key=name)["Body"].read() for name in found if name.startswith("out/export/")
    ]
    assert (
        sum(map(bytes.count, exported, [b"\n"] * len(exported))) == summary["rows"]["train"] + summary["rows"]["test"]
    )
    assert summary["conversations"] == {"in": 40, "kept": 40, "no_follow_up": 0, "quarantined": {}}
    assert server.stats.as_dict()["requests"] == 80
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    check_cache(f"{OUT}/.state/judge_cache")


def check_cache(directory: str) -> None:
    """The answers of the run are in the bucket, come back by key, and are merged there with those of later runs."""
    caches = [JudgeCache(directory) for _ in range(2)]
    assert len(caches[0]) == 80
    paths = segments.listed(directory)
    [first, *_] = segments.read_all(paths[0]).column("key").to_pylist()
    answer = caches[0].get_many([first])[first]
    for number in range(MERGE_FILES):
        caches[0].put(digest(number), answer)
        caches[0].flush()
    assert caches[0].get_many([first, digest(0), digest(-1)]) == {first: answer, digest(0): answer}
    assert len(segments.listed(directory)) == len(paths) + 1
    assert caches[1].get_many([first]) == {first: answer}
    assert len(JudgeCache(directory)) == 80 + MERGE_FILES


def three_runs(config: str) -> None:
    """In a process of its own, whose Ray workers inherit the way to the bucket; one cluster for all three."""
    from wildreward.cli import main
    from wildreward.cluster import cluster

    with cluster("local"):
        assert main(["label", "--config", config]) == 0
        first = rows()
        crash()
        assert main(["label", "--config", config]) == 0
        assert rows() == first
        assert main(["label", "--config", config]) == 0


def rows() -> dict[str, bytes]:
    fs, folder = storage.filesystem(storage.join(OUT, "wildfb"))
    fs.invalidate_cache()
    return {path: fs.cat_file(path) for path in fs.find(folder)}


def crash() -> None:
    """What kill -9 can leave on a store without renames: half a file, and a record both pending and committed."""
    fs, folder = storage.filesystem(storage.join(OUT, ".state", "checkpoint"))
    fs.invalidate_cache()
    cut, copied = sorted(path for path in fs.find(folder) if path.endswith(".parquet"))[:2]
    for record in (cut, copied):
        fs.cp_file(record, record.replace(".parquet", ".pending.parquet"))
    fs.rm_file(cut)
    data = cut.replace("/.state/checkpoint/", "/feedback/").replace(".parquet", "-0.parquet")
    fs.pipe_file(data, fs.cat_file(data)[:500])
    state = storage.join(OUT, ".state", "feedback.json")
    storage.write_text(state, json.dumps(json.loads(storage.read_text(state)) | {"done": False}))
    storage.remove(storage.join(OUT, ".state", "rows.json"))
