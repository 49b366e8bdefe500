"""What a scorer must not do: run what it is sent, run what lies in a checkpoint, or stand open without saying so."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serve.address import warn_if_open
from serve.canary import load_model
from tests.serve.conftest import LocalScorer
from wildreward.errors import CheckpointError
from wildreward.settings.serve import ServeSettings


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_a_pickle_on_the_wire_is_refused_and_not_loaded(local_scorer: LocalScorer, tmp_path: Path) -> None:
    marker = tmp_path / "loaded"
    url, body = local_scorer(), pickle.dumps(Bomb(marker))
    for kind in ("application/python-pickle", "application/octet-stream", "application/json"):
        answer = httpx2.post(f"{url}/v1/score", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_json")
    assert not marker.exists()
    pickle.loads(body)
    assert marker.exists()


@pytest.mark.parametrize("trusted", [False, True])
def test_code_of_a_checkpoint_runs_only_when_it_is_trusted(checkpoint: Path, tmp_path: Path, trusted: bool) -> None:
    copied, marker = shutil.copytree(checkpoint, tmp_path / "with_code"), tmp_path / "ran"
    config = json.loads((copied / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "theirs.Theirs"}
    (copied / "config.json").write_text(json.dumps(config))
    lines = (
        "from pathlib import Path",
        "from transformers import BertForSequenceClassification",
        f"Path({str(marker)!r}).touch()",
        "class Theirs(BertForSequenceClassification): pass",
    )
    (copied / "theirs.py").write_text("\n".join(lines))
    load_model(ServeSettings(checkpoint=str(copied), trust_remote_code=trusted))
    assert marker.exists() == trusted


def test_weights_that_are_a_pickle_are_not_loaded(checkpoint: Path, tmp_path: Path) -> None:
    copied, marker = shutil.copytree(checkpoint, tmp_path / "pickled"), tmp_path / "loaded"
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises((CheckpointError, pickle.UnpicklingError)):
        load_model(ServeSettings(checkpoint=str(copied)))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("127.0.0.1", "", False), ("0.0.0.0", "", True), ("10.0.0.7", "", True), ("0.0.0.0", "secret", False)],
)
def test_listening_wider_than_this_machine_without_a_token_is_warned_of(
    host: str, token: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WILDREWARD_SERVE_TOKENS", token)
    warn_if_open(host, ServeSettings(checkpoint="unused"))
    said = capsys.readouterr().err
    assert (f"listening on {host} without a token" in said) == warned
    assert "secret" not in said


def test_the_default_is_this_machine_only() -> None:
    settings = ServeSettings(checkpoint="unused")
    assert (settings.host, settings.trust_remote_code) == ("127.0.0.1", False)
