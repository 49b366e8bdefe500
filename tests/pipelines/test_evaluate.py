"""evaluate through the command line's front door, on a real local cluster with a real tiny checkpoint."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.checkpoints import tiny_checkpoint
from wildreward.cli import main
from wildreward.reward_model import RewardModel
from wildreward.schema import WILDFB, table

REPLIES = [f"reply number {i} " + "word " * (i % 7) for i in range(30)]


def _talk(reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "question"}, {"role": "assistant", "content": reply}]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"), "independent")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    pairs = [
        {"id": str(i), "subset": "s", "prompt": "question", "chosen": REPLIES[i], "rejected": REPLIES[i - 1]}
        for i in range(30)
    ]
    pq.write_table(pa.Table.from_pylist([*pairs, pairs[0]]), folder / "pairs.parquet")
    rated = [{"prompt": "question", "response": reply, "rating": i % 5} for i, reply in enumerate(REPLIES)]
    (folder / "rated.jsonl").write_text("\n".join(map(json.dumps, rated)))
    rows = [{"id": str(i), "messages": _talk(reply), "label": i % 4 + 1} for i, reply in enumerate(REPLIES)]
    (folder / "run/wildfb/test").mkdir(parents=True)
    pq.write_table(table(rows, WILDFB), folder / "run/wildfb/test/0.parquet")
    return folder


@pytest.mark.usefixtures("ray_cluster")
def test_three_kinds_are_measured_in_one_run_with_the_models_own_scores(
    checkpoint: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(inputs / name) for name in ("pairs.parquet", "rated.jsonl", "run")]
    flags = ["--bootstrap", "100", "--replicas", "2"]
    assert (
        main(["evaluate", "--checkpoint", str(checkpoint), "--input", *given, "--output", str(tmp_path), *flags]) == 0
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert {name: found["kind"] for name, found in results["sets"].items()} == {
        "pairs": "pairs",
        "rated": "rated",
        "run": "wildfb",
    }
    assert results["sets"]["pairs"]["skipped"] == {"duplicate_id": 1}
    assert results["texts"]["scored_once"] == 30
    assert results["model"]["head"] == "independent"
    expected = RewardModel.load(checkpoint).score([_talk(reply) for reply in REPLIES])
    for name, column in (("pairs", "score_chosen"), ("rated", "score"), ("run", "score")):
        items = pq.read_table(tmp_path / "items" / f"{name}.parquet").to_pylist()
        assert [item[column] for item in items[:30]] == pytest.approx([score.score for score in expected], abs=1e-5)
    assert "<img" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "settings.yaml").exists()
    shown = capsys.readouterr().out
    assert "pairs: accuracy" in shown
    assert "pairs: skipped 1 of 31 rows: duplicate_id 1" in shown


def test_wrong_input_and_checkpoint_are_told_before_anything_starts(
    checkpoint: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, output = str(inputs / "pairs.parquet"), str(tmp_path / "out")
    (tmp_path / "odd.jsonl").write_text('{"stars": 5}\n')
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")
    for model, data, code, said in (
        (str(tmp_path / "absent"), pairs, 2, "absent: no such directory"),
        (str(bare), pairs, 2, "no wildreward_template.json in it; give --template FILE"),
        (str(checkpoint), str(tmp_path / "absent.jsonl"), 2, "no file found"),
        (str(checkpoint), str(tmp_path / "odd.jsonl"), 1, "Its columns are: stars"),
    ):
        assert main(["evaluate", "--checkpoint", model, "--input", data, "--output", output]) == code
        assert said in capsys.readouterr().err
    given = ["--checkpoint", str(checkpoint), "--input", pairs, "--output", output]
    assert main(["evaluate", *given, "--baseline", str(tmp_path / "absent")]) == 2
    assert (
        "--baseline " + str(tmp_path / "absent") + ": neither an evaluation nor a checkpoint" in capsys.readouterr().err
    )
    for flag, wrong, said in (
        ("--url", "here", "expected http://"),
        ("--callable", "mine", "expected module:function"),
    ):
        assert main(["evaluate", flag, wrong, "--input", pairs, "--output", output]) == 2
        assert said in capsys.readouterr().err
    assert not Path(output).exists()


@pytest.mark.usefixtures("ray_cluster")
def test_a_checkpoint_that_does_not_load_is_one_plain_line(
    checkpoint: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in checkpoint.iterdir():
        (broken / file.name).write_bytes(
            file.read_bytes()[:100] if file.suffix == ".safetensors" else file.read_bytes()
        )
    flags = ["--input", str(inputs / "pairs.parquet"), "--output", str(tmp_path / "out")]
    assert main(["evaluate", "--checkpoint", str(broken), *flags]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wildreward: error:")]
    assert len(said) == 1
    assert "cannot be loaded" in said[0]


MINE = """
import pathlib
HERE = pathlib.Path(__file__).parent

def length(conversations):
    replies = [messages[-1]["content"] for messages in conversations]
    if (HERE / "broken").exists() and any(len(reply) < 20 for reply in replies):
        raise RuntimeError("the short ones fail")
    with (HERE / "scored.txt").open("a") as handle:
        handle.writelines(reply + chr(10) for reply in replies)
    return [float(len(reply)) for reply in replies]
"""


@pytest.mark.usefixtures("ray_cluster")
def test_what_was_scored_is_not_scored_again_after_a_crash_or_with_other_measures(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callable that logs what it is asked for: it fails in its last block first, and works the second time.

    Its blocks count as long ones, which are kept before they are handed on.
    """
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "broken").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.scoring._BLOCK_ROWS", 4)
    monkeypatch.setattr("pipelines.scoring.FLUSH_S", 0.0)
    given = ["--callable", "mine:length", "--input", str(inputs / "pairs.parquet"), "--output", "out"]
    assert main(["evaluate", *given, "--bootstrap", "50"]) == 1
    assert "the short ones fail" in capsys.readouterr().err
    first = (tmp_path / "scored.txt").read_text().splitlines()
    assert 0 < len(first) < len(set(REPLIES))
    (tmp_path / "broken").unlink()
    assert main(["evaluate", *given, "--bootstrap", "50"]) == 0
    assert f"{len(first)} were found in the cache" in capsys.readouterr().out
    scored = (tmp_path / "scored.txt").read_text().splitlines()
    assert sorted(scored) == sorted(REPLIES)

    assert main(["evaluate", *given, "--bootstrap", "60", "--confidence", "0.9", "--baseline", "out"]) == 0
    assert (tmp_path / "scored.txt").read_text().splitlines() == scored
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["options"]["replicates"] == 60
    assert results["model"]["callable"] == "mine:length"
    accuracy = results["comparison"]["sets"]["pairs"]["metrics"]["accuracy"]
    assert accuracy["others"]["model"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    shown = capsys.readouterr().out
    assert "30 were found in the cache" in shown
    assert "no difference" in shown


def test_exactly_one_scorer_is_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--input", "x", "--output", "y"]
    for flags, found in (([], "none"), (["--checkpoint", "c", "--url", "http://x"], "--checkpoint and --url")):
        assert main(["evaluate", *flags, *given]) == 2
        said = capsys.readouterr().err
        assert f"exactly one of --checkpoint, --url, --handle, --callable says what scores; found {found}" in said
