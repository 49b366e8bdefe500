"""score through the command line's front door: one output row for each input row, whatever the rows are like."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.score_chunks import SCORES
from tests.checkpoints import tiny_checkpoint
from wildreward.cli import main
from wildreward.reward_model import RewardModel

USER = {"role": "user", "content": "hi"}


def _reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    """A JSONL file of all layouts with bad rows among them, and WildChat conversations in parquet."""
    lines = [
        json.dumps({"id": "a", "messages": [USER, _reply("fine")]}),
        json.dumps({"id": "b", "prompt": "hi", "response": "good"}),
        json.dumps({"id": "c", "prompt": "hi", "response": ""}),
        "{not json",
        json.dumps({"id": "d", "messages": [USER]}),
        json.dumps({"id": "e", "text": "no layout"}),
    ]
    mixed, wildchat = tmp_path / "mixed.jsonl", tmp_path / "wildchat.parquet"
    mixed.write_text("\n".join(lines))
    rows = [
        {
            "conversation_hash": f"h{i}",
            "conversation": [USER, _reply(f"answer {i}"), {"role": "user", "content": "thanks"}],
        }
        for i in range(20)
    ]
    pq.write_table(pa.Table.from_pylist(rows), wildchat)
    return [mixed, wildchat]


def _score(checkpoint: Path, inputs: list[Path], output: Path, *flags: str) -> int:
    given = ["--checkpoint", str(checkpoint), "--input", *map(str, inputs), "--output", str(output)]
    return main(["score", *given, "--chunk-rows", "8", *flags])


def _rows(output: Path) -> list[dict[str, Any]]:
    return ds.dataset(sorted(map(str, (output / "scores").glob("*.parquet")))).to_table().to_pylist()


@pytest.mark.usefixtures("ray_cluster")
def test_every_row_has_one_output_row_in_order_with_its_score_or_its_error(
    checkpoint: Path, inputs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert _score(checkpoint, inputs, output, "--replicas", "2") == 0
    rows = _rows(output)
    assert [(Path(row["file"]).name, row["row"]) for row in rows] == [
        *(("mixed.jsonl", i) for i in range(6)),
        *(("wildchat.parquet", i) for i in range(20)),
    ]
    assert [row["error"] for row in rows[:6]] == [
        None, None, "empty_response", "unreadable_row", "last_message_not_assistant", "missing_field",
    ]  # fmt: skip
    assert [row["id"] for row in rows[:6]] == ["a", "b", "c", None, "d", "e"]
    assert all((row["score"] is None) == (row["error"] is not None) for row in rows)
    expected = RewardModel.load(checkpoint).score([[USER, _reply(f"answer {i}")] for i in range(20)])
    assert [row["score"] for row in rows[6:]] == pytest.approx([score.score for score in expected], abs=1e-5)
    assert [sum(row["probs"]) for row in rows[6:]] == pytest.approx([1] * 20, abs=1e-5)
    assert pq.read_schema(next((output / "scores").iterdir())) == SCORES
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["rows"], summary["scored"], sum(summary["errors"].values())) == (26, 22, 4)
    assert "error    1 empty_response" in capsys.readouterr().out


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_that_was_cut_off_writes_only_the_missing_parts(
    checkpoint: Path, inputs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert _score(checkpoint, inputs, output) == 0
    whole, parts = _rows(output), sorted((output / "scores").iterdir())
    assert [part.name for part in parts] == [
        "00000-0000000000.parquet",
        "00001-0000000000.parquet",
        "00001-0000000008.parquet",
        "00001-0000000016.parquet",
    ]
    parts[2].unlink()
    (output / "done.json").unlink()
    untouched = {part: part.stat().st_mtime_ns for part in parts if part.exists()}
    assert _score(checkpoint, inputs, output) == 0
    assert _rows(output) == whole
    assert {part: part.stat().st_mtime_ns for part in untouched} == untouched
    assert json.loads((output / "summary.json").read_text())["rows"] == 26
    capsys.readouterr()
    assert _score(checkpoint, inputs, output) == 0
    assert "already scored" in capsys.readouterr().out


@pytest.mark.usefixtures("ray_cluster")
def test_scores_of_another_model_or_other_settings_are_not_mixed_in(
    inputs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = tmp_path / "model", tmp_path / "out"
    tiny_checkpoint(model)
    assert _score(model, inputs[:1], output) == 0
    first = _rows(output)
    assert _score(model, inputs, output) == 2
    assert "input:" in capsys.readouterr().err
    tiny_checkpoint(model, seed=1)
    assert _score(model, inputs[:1], output) == 1
    assert "has changed since these scores were begun" in capsys.readouterr().err
    assert _score(model, inputs[:1], output, "--overwrite") == 0
    assert _rows(output)[0]["score"] != first[0]["score"]


def test_a_file_with_nothing_to_score_is_refused_before_anything_starts(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"stars": 5}\n')
    assert _score(checkpoint, [path], tmp_path / "out") == 1
    assert "nothing to score. Its columns are: stars" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
