"""The judge cache in whole runs: what was answered once is not asked again, and every request is accounted for."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.judging import cache_directory
from pipelines.label import run
from pipelines.label_state import LabelState
from tests.judge_server import judge_server
from tests.pipelines.label_chats import contents, openai, rows, settings, summary, write_chats
from tests.pipelines.prometheus import series

SPENT = ("attempts", "prompt_tokens", "completion_tokens")


def judge_counts(output: Path) -> dict[str, int]:
    return {name: count for name, count in summary(output)["judge"].items() if not name.startswith("refusal")}


def evidence(output: Path) -> list[dict[str, Any]]:
    found = sorted(rows(output / "feedback"), key=lambda row: row["row_id"])
    return [turn | {"cached": None} for row in found for turn in row["turns"]]


@pytest.mark.usefixtures("ray_cluster")
def test_a_new_output_with_the_same_cache_asks_nothing_and_another_temperature_asks_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats, first, second = write_chats(tmp_path / "chats"), tmp_path / "first", tmp_path / "second"
    cache = first / ".state" / "judge_cache"
    with judge_server() as server:
        given = openai(server.url) | {"judge_model": "metered"}
        run(settings(chats, first, **given))
        asked, spent = server.stats.as_dict(), judge_counts(first)
        assert asked["requests"] == spent["attempts"] == 80
        (cache / "cut.parquet").write_bytes(b"PAR1")
        run(settings(chats, second, **given, judge_cache=str(cache)))
        assert server.stats.as_dict() == asked
        assert judge_counts(second) == {f"cached_{name}": spent[name] for name in SPENT} | {"cached_answers": 80}
        assert (evidence(second), contents(second / "wildfb")) == (evidence(first), contents(first / "wildfb"))
        assert "files ignored in the judge cache: 1\n  " + str(cache / "cut.parquet") in capsys.readouterr().err
        warmer = {"judge_temperature": 0.5, "overwrite": True, "limit": 25, "judge_cache": str(cache)}
        run(settings(chats, second, **given, **warmer))
        assert server.stats.as_dict()["requests"] - asked["requests"] == judge_counts(second)["attempts"] == 50
    tokens = {
        kind: spent[f"{kind}_tokens"] + judge_counts(second)[f"{kind}_tokens"] for kind in ("prompt", "completion")
    }
    assert series("metered") == {
        ("turns_judged_total", "labelled"): 80 + 80 + 50,
        ("cache_hits_total", "feedback"): 80,
        ("cache_files_ignored_total", ""): 2,  # by the actors of two runs
        ("requests_total", "feedback"): 80 + 50,
        ("latency_seconds_count", "feedback"): 80 + 50,
        **{("tokens_total", kind): count for kind, count in tokens.items()},
    }


def test_overwrite_deletes_what_an_output_holds_but_not_its_judge_cache(tmp_path: Path) -> None:
    given = settings(write_chats(tmp_path / "chats"), tmp_path / "out", **openai("http://127.0.0.1:1/v1"))
    directory = cache_directory(given)
    assert directory is not None
    for folder in (Path(directory), tmp_path / "out" / "feedback", tmp_path / "out" / ".state" / "checkpoint"):
        folder.mkdir(parents=True)
        (folder / "a.parquet").write_bytes(b"")
    name = LabelState.open(given.model_copy(update={"overwrite": True}), []).run
    assert {path.name for path in (tmp_path / "out").rglob("*")} == {
        ".state", "feedback.json", "judge_cache", "a.parquet",
    }  # fmt: skip
    assert LabelState.open(given, []).run == name


@pytest.mark.parametrize(
    ("changed", "directory"),
    [
        ({"judge": "lexicon"}, None),
        ({"judge_cache": "none"}, None),
        ({"judge_cache": "s3://team/cache"}, "s3://team/cache"),
        ({"judge": "lexicon", "judge_cache": "s3://team/cache"}, None),
        ({}, "s3://runs/label/.state/judge_cache"),
    ],
)
def test_the_cache_lies_in_the_output_unless_told_otherwise(changed: dict[str, str], directory: str | None) -> None:
    given = settings("chats", "s3://runs/label", **openai("http://x/v1")).model_copy(update=changed)
    assert cache_directory(given) == directory
