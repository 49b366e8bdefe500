"""What cannot work is refused before anything starts, by name, with exit code 2; what fails later is one line and 1."""

import socket
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.rl.tiny import prompts_file
from wildreward.cli import main

RULE = ["--callable", "tests.rl.rules:length"]


@pytest.fixture
def given(start: Path, tmp_path: Path) -> list[str]:
    """A command that lacks only what scores."""
    small = ["--steps", "1", "--prompts-per-step", "4", "--completions-per-prompt", "2", "--max-new-tokens", "8"]
    small += ["--max-prompt-tokens", "64", "--eval-prompts", "4", "--threads", "1"]
    places = ["--policy", str(start), "--input", str(prompts_file(tmp_path)), "--output", str(tmp_path / "run")]
    return ["dpo", *places, *small]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 2) -> str:
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert said.startswith("wildreward: error: ")
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([], "one of --checkpoint, --handle and --callable must say what scores"),
        ([*RULE, "--handle", "app"], "one scorer is enough; found handle and callable"),
        ([*RULE, "--template", "chat"], "template: it is for a checkpoint"),
        ([*RULE, "--select-by", "second"], "second needs a second scorer"),
        ([*RULE, "--policy", ""], "dpo: policy is required (--policy)"),
        ([*RULE, "--policy", "/nowhere"], "--policy /nowhere: its tokenizer cannot be loaded"),
        ([*RULE, "--input", "/nowhere/*.jsonl"], "--input /nowhere/*.jsonl: no file found"),
        ([*RULE, "--eval-input", "/nowhere"], "--eval-input /nowhere: no file found"),
        ([*RULE, "--max-prompt-tokens", "8"], "{'too_long': 12, 'duplicate': 36} (--max-prompt-tokens 8)"),
        ([*RULE, "--max-new-tokens", "100"], "164 in all; "),
        (["--checkpoint", "/nowhere"], "--checkpoint /nowhere: no such directory"),
        ([*RULE, "--eval-checkpoint", "/nowhere"], "--eval-checkpoint /nowhere: no such directory"),
        (["--callable", "tests.rl.rules:nobody"], "--callable tests.rl.rules:nobody: tests.rl.rules has no function"),
        ([*RULE, "--eval-callable", "no.module:x"], "--eval-callable no.module:x: no.module cannot be imported"),
        ([*RULE, "--temperature", "0"], "temperature: found 0"),
        ([*RULE, "--betta", "1"], "--betta"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], said: str
) -> None:
    assert said in refused(capsys, [*given, *extra])
    assert not (tmp_path / "run").exists()


def test_a_policy_without_a_chat_template_is_refused(
    given: list[str], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(start)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "plain")
    said = refused(capsys, [*given, *RULE, "--policy", str(tmp_path / "plain")])
    assert "its tokenizer has no chat template" in said


def test_an_empty_held_out_file_is_named(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    said = refused(capsys, [*given, *RULE, "--eval-input", str(tmp_path / "empty.jsonl")])
    assert "empty.jsonl: 12 prompts to train on and 0 held out are left" in said


def test_a_broken_parquet_file_is_named(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    said = refused(capsys, [*given, *RULE, "--input", str(tmp_path / "broken.parquet")], code=1)
    assert "broken.parquet: not a readable parquet file" in said


def test_a_cluster_that_is_not_there_is_told_at_once(
    given: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # by the tests before
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take it, and it refuses
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        said = refused(capsys, [*given, *RULE, "--address", address], code=1)
    assert f"--address {address}: no Ray cluster answers there" in said
