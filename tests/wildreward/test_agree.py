"""`wildreward agree A B`: what is matched, what is said of the rest, and what is refused."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.cli import main
from wildreward.levels import read_levels
from wildreward.schema import FEEDBACK, WILDFB, table

Turns = dict[str, list[tuple[int | None, int | None]]]


def label_output(folder: Path, turns: Turns) -> Path:
    """An output of label: level and refusal verdict of each turn of each conversation; the last one is repeated."""
    rows = [
        {"row_id": name, "conversation_hash": name, "status": "kept", "turns": [
            {"turn": turn, "level": level, "refusal_verdict": verdict} for turn, (level, verdict) in enumerate(found)
        ]}
        for name, found in turns.items()
    ]  # fmt: skip
    quarantined = {"row_id": "q", "status": "quarantined", "reason": "bad_json"}
    save(folder / "feedback/0.parquet", table([quarantined, *rows[:1]], FEEDBACK))
    save(folder / "feedback/1.parquet", table([*rows[1:], rows[-1]], FEEDBACK))
    kept = [
        {"id": f"{name}/{turn}", "conversation_hash": name, "turn": turn, "level": 5}
        for name, found in turns.items()
        for turn in range(len(found))
    ]
    save(folder / "wildfb/train/0.parquet", table(kept, WILDFB))
    save(folder / "wildfb/test/0.parquet", table([], WILDFB))
    return folder


def save(path: Path, found: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, path)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a: Turns = {f"c{number}": [(1 + number % 5, None), (3, None)] for number in range(20)}
    b: Turns = {f"c{number}": [(1 + number % 5, None), (4, None)] for number in range(5, 25)}
    a["refused"], b["refused"] = [(1, 1), (None, None)], [(1, 0), (2, None)]
    return label_output(tmp_path / "a", a), label_output(tmp_path / "b", b)


def agree(*arguments: object) -> int:
    return main(["agree", *map(str, arguments)])


def test_two_outputs_are_matched_by_conversation_and_turn(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agree(*runs, "--output", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out/agreement.json").read_text())
    assert found["counts"] == {
        "matched": 32,
        "compared": 31,
        "only_in_a": 10,
        "only_in_b": 10,
        "without_level_in_a": 1,
        "without_level_in_b": 0,
        "repeated_in_a": 2,
        "repeated_in_b": 2,
    }
    assert found["levels"]["accuracy"]["value"] == pytest.approx(16 / 31)
    assert found["levels"]["confusion"][3] == [0, 0, 15, 3, 0]  # B says 4; A says 3 of the second turns
    assert found["refusals"]["confusion"] == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    shown = capsys.readouterr().out
    assert "31 turns of 16 conversations compared; only in A 10, only in B 10" in shown
    assert "Cohen's kappa" in shown
    assert "Confusion of the levels" in (tmp_path / "out/report.html").read_text()
    assert agree(*runs, "--output", tmp_path / "out", "--rows") == 2  # other settings on the same output


def test_the_rows_that_were_kept_are_compared_by_their_refined_levels(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert agree(*runs, "--rows") == 0
    assert "accuracy                  1.000" in capsys.readouterr().out


def test_peoples_levels_are_read_alike_from_csv_jsonl_and_parquet(runs: tuple[Path, Path], tmp_path: Path) -> None:
    lines = [{"conversation_hash": f"c{n}", "turn": n % 2, "mine": 1 + n % 5, "note": 'a "b",\n'} for n in range(20)]
    lines[3]["mine"] = None
    save(tmp_path / "people.parquet", pa.Table.from_pylist(lines))
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [f'{line["conversation_hash"]},{line["turn"]},{line["mine"] or ""},"x ""y"",\n"\n' for line in lines]
    (tmp_path / "people.csv").write_text("\ufeffconversation_hash,turn,mine,note\n" + "".join(rows))
    read = [read_levels(str(tmp_path / f"people.{kind}"), False, "mine") for kind in ("parquet", "jsonl", "csv")]
    for found in read:
        assert found.keys_N.tolist() == read[0].keys_N.tolist()
        assert found.levels_N.tolist() == read[0].levels_N.tolist()
        assert (found.unlabelled, found.repeated, len(found.keys_N)) == (1, 0, 20)
    assert agree(runs[0], tmp_path / "people.csv", "--level-column", "mine") == 0


@pytest.mark.parametrize(
    "case",
    [
        ("absent.csv", None, 2, "no such file"),
        ("people.txt", "x", 2, "neither an output of label"),
        ("people.csv", "conversation_hash,turn\nc1,0\n", 1, "lacks the column level or true_level; its columns are"),
        ("people.csv", "conversation_hash,turn,level\n", 1, "nothing in common"),
        ("people.csv", "conversation_hash,turn,level\nzz,0,3\n", 1, "nothing in common"),
        ("people.csv", "conversation_hash,turn,level\nc1,0,\n", 1, "has a level in both"),
        (
            "people.csv",
            "conversation_hash,turn,level\nc1,0,3\nc2,0,6\n",
            1,
            "row 1: level: found '6'; allowed are [1, 2",
        ),
        ("people.csv", "conversation_hash,turn,level\nc1,one,3\n", 1, "row 0: turn: found 'one'; a whole number"),
        ("people.csv", "conversation_hash,turn,level\n,0,3\n", 1, "row 0: conversation_hash: found ''"),
        ("people.jsonl", '{"conversation_hash": "c1", "turn": 0, "level": 3}\n{', 1, "row 1: JSONDecodeError"),
        ("people.jsonl", '{"conversation_hash": "c1", "turn": 0, "level": 2.5}', 1, "level: found 2.5; a whole"),
        ("people.parquet", "no parquet", 1, "people.parquet: not a readable parquet file"),
    ],
)
def test_what_cannot_be_compared_is_named(
    runs: tuple[Path, Path], case: tuple[str, str | None, int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    name, text, code, said = case
    path = runs[0].parent / name
    if text is not None:
        path.write_text(text)
    assert agree(runs[0], path) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_a_label_run_that_is_not_done_is_said_so(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (runs[0] / "wildfb/test/0.parquet").unlink()
    (runs[0] / "wildfb/test").rmdir()
    assert agree(*runs, "--rows") == 2
    assert "the label run is not done" in capsys.readouterr().err
