"""The demo's own parts: what it reads, what it says, and when it fails. The whole of it is `make demo`."""

import json
from pathlib import Path
from typing import Any

import pytest

from wildreward import demo, demo_report
from wildreward.cli import STAGES, main, read_settings
from wildreward.demo import Demo, conversations
from wildreward.errors import UsageError, WildrewardError
from wildreward.settings.demo import DemoSettings


def estimate(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def summary(gain: tuple[float, float, float], before: float, after: float) -> dict[str, Any]:
    length = estimate(0.5, 0.4, 0.6) | {"difference": estimate(*gain)}
    metric = estimate(0.5 + gain[0], 0.5, 0.9) | {"baselines": {"length": length}}
    levels = {"accuracy": estimate(0.6, 0.5, 0.7), "quadratic_kappa": estimate(0.5, 0.4, 0.6), "turns": 9}
    reward = {when: {"mean": mean, "low": mean, "high": mean} for when, mean in (("before", before), ("after", after))}
    return {
        "label": {
            "conversations": {"in": 10, "kept": 7, "no_follow_up": 2, "quarantined": {"bad_json": 1}},
            "rows": {"train": 5, "test": 2, "dropped": {"neutral": 3}},
        },
        "judge": {"judged": levels, "rows": levels, "refusals": (1, 2, 3), "filters": {"media": (3, 4)}},
        "reward_model": {"metrics": {demo_report.CLAIM: metric, "quadratic_kappa": estimate(0.3, 0.1, 0.5)}},
        "policy": {"reward": reward, "win_rate": {"mean": 0.6, "low": 0.5, "high": 0.7}},
        "seconds": {"label": 12.0},
        "total_seconds": 99.0,
    }  # fmt: skip


def test_both_claims_hold_and_nothing_fails() -> None:
    assert demo_report.failures(summary((0.2, 0.1, 0.3), 2.0, 2.3)) == []


def test_a_gain_over_length_whose_interval_holds_zero_is_a_failure() -> None:
    [said] = demo_report.failures(summary((0.1, -0.05, 0.25), 2.0, 2.3))
    assert "length-only" in said
    assert "-0.050" in said


def test_a_reward_that_did_not_rise_is_a_failure() -> None:
    [said] = demo_report.failures(summary((0.2, 0.1, 0.3), 2.0, 2.0))
    assert "did not rise" in said


def test_the_table_says_what_happened_and_where_the_files_are(capsys: pytest.CaptureFixture[str]) -> None:
    demo_report.show(summary((0.2, 0.1, 0.3), 2.0, 2.3), "runs/x")
    shown = capsys.readouterr().out
    assert "10 read" in shown
    assert "2.300" in shown
    assert "runs/x/train/checkpoint" in shown


def test_a_stage_is_shown_as_the_command_a_user_would_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []
    monkeypatch.setattr(demo, "run_stage", lambda name, argv: ran.append((name, argv)))
    Demo(DemoSettings(output="a b")).command("label", "--input", "a b/data", "--seed", 3, what="judge")
    assert ran == [("label", ["--input", "a b/data", "--seed", "3"])]
    assert "$ wildreward label --input 'a b/data' --seed 3" in capsys.readouterr().out


def test_the_command_lines_of_all_stages_are_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every stage would accept what the demo types, without running one."""
    seen: list[str] = []

    def parse(name: str, argv: list[str]) -> None:
        read_settings(STAGES[name], argv)
        seen.append(name)

    monkeypatch.setattr(demo, "run_stage", parse)
    monkeypatch.setattr(demo, "score_over_http", lambda url: [])
    monkeypatch.setattr(demo, "_generate", lambda run: None)
    monkeypatch.setattr(demo, "_warm_start", lambda run: None)
    monkeypatch.setattr("ray.serve.shutdown", lambda: None)
    demo._stages(Demo(DemoSettings(output=str(tmp_path))))
    assert seen == ["label", "train", "evaluate", "serve", "dpo"]


def test_generated_data_are_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Demo(DemoSettings(output=str(tmp_path), conversations=120))
    demo._generate(run)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    demo._generate(run)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == written
    assert "reused" in capsys.readouterr().out


def test_the_policy_reads_sound_conversations_only() -> None:
    found = conversations(DemoSettings(conversations=120))
    assert 100 < len(found) <= 121
    assert all(message["role"] in {"user", "assistant"} for talk in found for message in talk)


def test_other_settings_in_the_same_output_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(json.dumps({"output": str(tmp_path), "conversations": 120}))
    with pytest.raises(UsageError, match="conversations: 120 -> 130"):
        demo.run(DemoSettings(output=str(tmp_path), conversations=130))


def test_a_remote_output_is_a_usage_error() -> None:
    assert main(["demo", "--output", "s3://bucket/demo"]) == 2


def test_a_scorer_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(WildrewardError, match="POST"):
        demo.score_over_http("http://127.0.0.1:9/v1/score")
