import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.benchmarks.inputs import read_sets
from wildreward.errors import DataError, UsageError
from wildreward.schema import WILDFB, table

PAIR = {"id": "1", "subset": "s", "prompt": "hi", "chosen": "yes", "rejected": "no"}
RATED = {"prompt": "hi", "response": "yes", "rating": 4}
MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]


def _jsonl(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def _wildfb(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table([{"id": name, "messages": MESSAGES, "label": 3}], WILDFB), path)


def test_files_are_recognised_by_their_columns(tmp_path: Path) -> None:
    _jsonl(tmp_path / "p.jsonl", PAIR)
    pq.write_table(pa.Table.from_pylist([RATED]), tmp_path / "r.parquet")
    _wildfb(tmp_path / "w" / "0.parquet", "a")
    assert {found.name: found.kind for found in read_sets([str(tmp_path)])} == {
        "p": "pairs",
        "r": "rated",
        "w": "wildfb",
    }


@pytest.mark.parametrize("given", ["run", "run/", "run/wildfb", "run/wildfb/test"])
def test_a_label_run_means_its_test_split(tmp_path: Path, given: str) -> None:
    _wildfb(tmp_path / "run/wildfb/test/0.parquet", "in the test split")
    _wildfb(tmp_path / "run/wildfb/test/1.parquet", "in the test split too")
    _wildfb(tmp_path / "run/wildfb/train/0.parquet", "not")
    _jsonl(tmp_path / "run/feedback/0.jsonl", {"turns": []})
    [found] = read_sets([f"{tmp_path}/{given}"])
    assert [item["id"] for item in found.items] == ["in the test split", "in the test split too"]


def test_the_parts_of_a_file_are_one_set_and_other_files_are_others(tmp_path: Path) -> None:
    for name in ("x-00000-of-00002", "x-00001-of-00002", "y"):
        _jsonl(tmp_path / f"{name}.jsonl", PAIR | {"id": name})
    assert {found.name: len(found.items) for found in read_sets([str(tmp_path)])} == {"x": 2, "y": 1}


def test_equal_file_names_are_told_apart_and_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        _jsonl(tmp_path / folder / "pairs.jsonl", PAIR)
    sets = read_sets([str(tmp_path), str(tmp_path / "a" / "pairs.jsonl")])
    assert {found.name: len(found.items) for found in sets} == {"a/pairs": 1, "b/pairs": 1}


def test_an_unrecognised_file_names_its_columns_and_what_is_allowed(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "odd.jsonl", {"text": "hi", "stars": 5})
    with pytest.raises(DataError, match=r"odd\.jsonl.*text, stars.*pairs: prompt, chosen, rejected; rated.*wildfb"):
        read_sets([str(path)])


def test_an_input_without_files_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file found"):
        read_sets([str(tmp_path / "absent")])


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(DataError, match=r"cut\.parquet: not a readable parquet file"):
        read_sets([str(tmp_path)])
