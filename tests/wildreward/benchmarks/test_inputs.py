import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.benchmarks.inputs import read_sets, recognise
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


def test_columns_that_pairs_have_too_are_told_apart_by_their_values(tmp_path: Path) -> None:
    lists = {"chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"], "domain": "chat"}
    _jsonl(tmp_path / "styles.jsonl", PAIR | lists)
    _jsonl(tmp_path / "pairs.jsonl", PAIR | {"domain": "chat"})
    models = {"chosen_model": "a", "rejected_model": "b"}
    _jsonl(tmp_path / "official.jsonl", PAIR | models | {"subset": "hep-go"})
    _jsonl(tmp_path / "own.jsonl", PAIR | models)
    found = {path.stem: recognise(str(path)).kind for path in tmp_path.iterdir()}
    assert found == {"styles": "rm-bench", "pairs": "pairs", "official": "rewardbench", "own": "pairs"}


def test_a_first_row_that_lacks_something_does_not_decide(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "c.jsonl", {"prompt": "p", "responses": None}, {"prompt": "q", "responses": ["a", "b"]})
    [found] = read_sets([str(path)], "math:fsum")
    assert (found.kind, found.skipped) == ("candidates", {"missing_responses": 1})


def test_a_json_array_is_read_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "array.json").write_text(json.dumps([PAIR, PAIR | {"id": "2"}, 3]))
    _jsonl(tmp_path / "lines.json", PAIR)
    _jsonl(tmp_path / "pairs.jsonl", PAIR)
    found = {one.name: (len(one.items), one.skipped) for one in read_sets([f"{tmp_path}/*.json"])}
    assert found == {"array": (3, {"unreadable_row": 1}), "lines": (1, {})}
    assert [one.name for one in read_sets([str(tmp_path)])] == ["pairs"]  # a summary.json beside the data is no data
    (tmp_path / "cut.json").write_text("[{")
    with pytest.raises(DataError, match=r"cut\.json: not readable JSON"):
        read_sets([f"{tmp_path}/cut.json"])


def test_the_files_of_one_directory_are_one_set_where_they_belong_together(tmp_path: Path) -> None:
    row = {"question_id": "1", "prompt": "p", "scores": [True, False], "response_1": "a", "response_2": "b"}
    for name, sign in (("math", "level"), ("gpqa", "Record ID")):
        _jsonl(tmp_path / f"{name}.jsonl", row | {sign: "x"})
    [found] = read_sets([str(path) for path in sorted(tmp_path.iterdir())])
    assert [item["benchmark"] for item in found.items] == ["gpqa", "math"]


def test_the_hook_needs_replies_to_choose_from(tmp_path: Path) -> None:
    pairs = _jsonl(tmp_path / "pairs.jsonl", PAIR)
    choices = _jsonl(tmp_path / "choices.jsonl", {"prompt": "p", "responses": ["a", "b"]})
    with pytest.raises(UsageError, match="no input has several replies to choose from"):
        read_sets([str(pairs)], "math:fsum")
    sets = read_sets([str(pairs), str(choices)], "math:fsum")
    assert [found.downstream is not None for found in sets] == [False, True]


def test_an_unrecognised_file_names_its_columns_and_what_is_allowed(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "odd.jsonl", {"text": "hi", "stars": 5})
    with pytest.raises(
        DataError, match=r"(?s)odd\.jsonl.*text, stars.*pairs: prompt, chosen, rejected\n.*rated.*wildfb"
    ):
        read_sets([str(path)])
    near = _jsonl(tmp_path / "near.jsonl", {"prompt": "hi", "chosen": "yes"})
    with pytest.raises(DataError, match=r"columns are: prompt, chosen\. As pairs it lacks: rejected\."):
        read_sets([str(near)])
    (tmp_path / "nothing.jsonl").write_text("not json\n")
    with pytest.raises(DataError, match=r"nothing\.jsonl: not an evaluation set. It has no row that can be read"):
        read_sets([str(tmp_path / "nothing.jsonl")])


def test_an_input_without_files_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file found"):
        read_sets([str(tmp_path / "absent")])


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(DataError, match=r"cut\.parquet: not a readable parquet file"):
        read_sets([str(tmp_path)])
