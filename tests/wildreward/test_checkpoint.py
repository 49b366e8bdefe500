"""What identifies a checkpoint, and what can be said of one without loading it."""

import json
from pathlib import Path
from typing import Any

import pytest

from wildreward.checkpoint import CHAT, check_files, fingerprint, is_scalar, local_directory
from wildreward.errors import CheckpointError, UsageError
from wildreward.template import FILE_NAME


def _checkpoint(folder: Path, weights: bytes = b"0123", **config: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights)
    (folder / FILE_NAME).write_text('{"max_tokens": 8}')
    return folder


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    one, same = _checkpoint(tmp_path / "a"), _checkpoint(tmp_path / "b")
    (same / "trainer.log").write_text("is no part of the model")
    assert fingerprint(str(one)) == fingerprint(str(same))


def test_a_change_of_any_byte_that_makes_the_scores_changes_the_fingerprint(tmp_path: Path) -> None:
    large = bytes(3_000_000)
    one = _checkpoint(tmp_path / "one", large)
    found = {fingerprint(str(one)), fingerprint(str(_checkpoint(tmp_path / "head", large[:-1] + b"1")))}
    found.add(fingerprint(str(_checkpoint(tmp_path / "config", large, head="corn"))))
    template = tmp_path / "other.json"
    for text in ('{"max_tokens": 8}', '{"max_tokens": 9}'):
        template.write_text(text)
        found.add(fingerprint(str(one), str(template)))
    found.add(fingerprint(str(one), CHAT))
    assert len(found) == 6


@pytest.mark.parametrize(
    ("config", "scalar"),
    [
        ({"id2label": {"0": "LABEL_0"}}, True),
        ({"num_labels": 1}, True),
        ({"num_labels": 1, "wildreward": {"head": "coral"}}, False),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, False),
        ({}, False),  # two labels are the default of transformers
    ],
)
def test_a_scalar_reward_model_of_another_maker_is_known_by_its_config(
    tmp_path: Path, config: dict[str, Any], scalar: bool
) -> None:
    assert is_scalar(_checkpoint(tmp_path / "x", **config)) is scalar


def test_what_is_missing_is_named_with_its_flag(tmp_path: Path) -> None:
    bare, empty = _checkpoint(tmp_path / "bare", id2label={"0": "a", "1": "b"}), tmp_path / "empty"
    (bare / FILE_NAME).unlink()
    empty.mkdir()
    for name, template, said in (
        (str(tmp_path / "absent"), None, "absent: no such directory"),
        (str(empty), None, "no config.json in it"),
        (str(bare), None, f"no {FILE_NAME} in it; give --template FILE"),
        (str(bare), "nowhere.json", "--template nowhere.json: no such file; allowed are a template file and 'chat'"),
    ):
        with pytest.raises(UsageError, match=said):
            check_files(name, template)
    check_files(str(bare), CHAT)
    check_files("owner/on-the-hub", None)


def test_a_hub_id_that_cannot_be_had_is_one_plain_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for ask in (fingerprint, local_directory):
        with pytest.raises(CheckpointError, match="--checkpoint nobody/nothing: no directory"):
            ask("nobody/nothing")
