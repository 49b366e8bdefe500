"""The front door: exit codes, messages that name the field, presets under flags."""

from pathlib import Path

import pytest

from wildreward.cli import STAGES, main, read_settings
from wildreward.errors import UsageError


def test_an_unknown_command_is_a_usage_error_that_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lable"]) == 2
    assert "label, agree, train, calibrate, evaluate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--learning-rate", "1"], "--learning-rate"),
        (["train", "--lr", "fast"], "lr"),
        (["train", "--lr", "-1"], "lr: found -1"),
        (["train", "--config", "no-such-preset"], "shipped presets"),
        (["label", "--judge", "oracle"], "lexicon"),
        (["agree", "one"], "agree A B"),
        (["label", "--hindsight-min-similarity", "1.5"], "hindsight_min_similarity"),
    ],
)
def test_a_wrong_setting_exits_2_and_is_named(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert named in capsys.readouterr().err


def test_a_flag_overrides_the_yaml_file_and_the_rest_of_the_file_stands(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("output: from-file\nseed: 3\n")
    settings = read_settings(STAGES["demo"], ["--config", str(config), "--seed", "4"])
    assert (Path(settings.output).name, settings.seed) == ("from-file", 4)


def test_relative_paths_become_absolute_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train's workers stand in another directory than the user."""
    (tmp_path / "minilm").mkdir()
    (tmp_path / "chats").mkdir()
    monkeypatch.chdir(tmp_path)
    arguments = ["--input", "chats", "s3://bucket/chats", "--output", "out", "--backbone", "minilm"]
    settings = read_settings(STAGES["train"], arguments).model_dump()
    assert settings["input"] == (str(tmp_path / "chats"), "s3://bucket/chats")
    assert (settings["output"], settings["backbone"]) == (str(tmp_path / "out"), "minilm")


def test_an_unknown_key_in_a_yaml_file_names_the_file_and_a_close_field(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("sead: 3\n")
    with pytest.raises(UsageError, match=r"mine\.yaml.*unknown field sead; did you mean seed"):
        read_settings(STAGES["demo"], ["--config", str(config)])


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1", ""])
def test_a_yaml_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        read_settings(STAGES["demo"], ["--config", str(config)])


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_command_explains_every_field(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([stage, "--help"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    for name, field in STAGES[stage].settings_class().model_fields.items():
        assert (name.upper() if name == STAGES[stage].positional else f"--{name.replace('_', '-')}") in shown
        assert field.description, f"{stage}: {name} has no description"


def test_a_relative_output_in_a_ray_job_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray deletes the copy of the working directory that a job runs in, and all that was written there."""
    job = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_0"
    job.mkdir(parents=True)
    monkeypatch.chdir(job)
    with pytest.raises(UsageError, match=r"--output out: is relative.*working directory of a Ray job"):
        read_settings(STAGES["label"], ["--input", "s3://chats", "--output", "out"])
    for kept in ("s3://team/out", str(tmp_path / "out")):
        assert (
            read_settings(STAGES["label"], ["--input", "s3://chats", "--output", kept]).model_dump()["output"] == kept
        )
