"""Models and outputs on S3, against a real S3 endpoint on loopback. (A label run there: pipelines/test_label_s3.py.)"""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from tests.checkpoints import tiny_checkpoint
from wildreward import storage
from wildreward.checkpoint import copy_checkpoint, fingerprint
from wildreward.errors import UsageError
from wildreward.fetched import PLACE, local_copy
from wildreward.reward_model import RewardModel
from wildreward.settings.label import LabelSettings
from wildreward.storage_checks import check_places

REPLY = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of its own, and the environment in which s3fs finds it."""
    environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in (environment | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # one of another test asks another endpoint
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="models")
    yield "s3://models"
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_checkpoint_published_to_s3_is_fetched_and_scores_as_here(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / "fetched"))
    directory, url = tiny_checkpoint(tmp_path / "checkpoint"), f"{bucket}/run/checkpoint"
    copy_checkpoint(directory, url)
    assert RewardModel.load(url).score([REPLY]) == RewardModel.load(directory).score([REPLY])
    first, here = fingerprint(url), local_copy(url)
    copy_checkpoint(tiny_checkpoint(tmp_path / "other", seed=1), url)
    assert fingerprint(url) != first
    assert local_copy(url) != here


def test_an_output_is_tried_by_writing_and_nothing_stays(bucket: str) -> None:
    check_places(LabelSettings(output=f"{bucket}/out"))
    fs, inner = storage.filesystem(f"{bucket}/out")
    assert fs.find(inner) == []
    with pytest.raises(UsageError, match="--output s3://nobodys-bucket/out: cannot be written to"):
        check_places(LabelSettings(output="s3://nobodys-bucket/out"))


def test_no_credentials_are_a_plain_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/proc/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UsageError, match=r"--output s3://models/out: cannot be written to: .*credentials"):
        check_places(LabelSettings(output=f"{bucket}/out"))
