"""A checkpoint at a URL (fsspec's memory here; s3 in test_storage_s3.py) is fetched once, whole, and again when it was
replaced."""

from pathlib import Path

import pytest

from tests.checkpoints import tiny_checkpoint
from wildreward import storage
from wildreward.checkpoint import check_files, fingerprint, is_scalar, local_directory
from wildreward.errors import CheckpointError, UsageError
from wildreward.fetched import PLACE, described, local_copy
from wildreward.reward_model import RewardModel

REPLY = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
URL = "memory://models/reward"


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint at URL; where it came from."""
    monkeypatch.setenv(PLACE, str(tmp_path / "fetched"))
    storage.remove("memory://models")
    directory = tiny_checkpoint(tmp_path / "checkpoint")
    upload(directory)
    return directory


def upload(directory: Path) -> None:
    for path in directory.iterdir():
        storage.write_bytes(f"{URL}/{path.name}", path.read_bytes())


def test_a_checkpoint_at_a_url_scores_as_its_directory_does(remote: Path) -> None:
    assert RewardModel.load(URL).score([REPLY]) == RewardModel.load(remote).score([REPLY])
    check_files(URL, None)
    assert is_scalar(local_directory(URL)) is False


def test_it_is_fetched_once_and_again_when_it_was_replaced(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, marked = local_copy(URL), fingerprint(URL)
    with monkeypatch.context() as patch:
        patch.setattr("wildreward.fetched._fetch", lambda *_: pytest.fail("it is here already"))
        assert local_copy(URL) == first
    assert sorted(path.name for path in Path(first).iterdir()) == sorted(path.name for path in remote.iterdir())
    upload(tiny_checkpoint(remote, seed=1))
    assert fingerprint(URL) != marked
    second = local_copy(URL)
    assert second != first
    assert (Path(second) / "model.safetensors").read_bytes() == (remote / "model.safetensors").read_bytes()


def test_what_kind_of_model_it_is_needs_no_weights(remote: Path) -> None:
    assert {path.suffix for path in described(URL).iterdir()} == {".json"}


def test_what_is_not_there_or_no_model_is_named(remote: Path) -> None:
    with pytest.raises(UsageError, match="--checkpoint memory://models/absent: no such directory"):
        check_files("memory://models/absent", None)
    storage.write_text("memory://models/notes/readme.md", "no model")
    with pytest.raises(CheckpointError, match="no file of a model in it"):
        local_copy("memory://models/notes")


def test_names_that_are_no_urls_stay_as_they_are() -> None:
    assert [local_copy(name) for name in ("owner/name", "/a/b", "file:///a/b")] == ["owner/name", "/a/b", "file:///a/b"]
