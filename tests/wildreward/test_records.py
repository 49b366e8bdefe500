from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.errors import DataError
from wildreward.records import columns_of, count_rows, read_records


def test_rows_keep_their_numbers_over_bad_lines_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{broken\n[2]\n\xff\n{"b": 3}\n')
    records = list(read_records(str(path)))
    assert [(record.row, record.values) for record in records] == [
        (0, {"a": 1}),
        (1, None),
        (2, None),
        (3, None),
        (4, {"b": 3}),
    ]
    assert records[2].problem == "found list; expected an object"
    assert columns_of(str(path)) == ["a", "b"]
    assert count_rows(str(path)) is None


def test_parquet_rows_are_read_over_batches(tmp_path: Path) -> None:
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({"a": range(10)}), path)
    assert [(record.row, record.values) for record in read_records(path, batch_rows=3)] == [
        (i, {"a": i}) for i in range(10)
    ]
    assert (columns_of(path), count_rows(path)) == (["a"], 10)


def test_a_parquet_file_cut_off_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": range(1000)}), path)
    path.write_bytes(path.read_bytes()[:-50])
    for read in (columns_of, count_rows, lambda name: list(read_records(name))):
        with pytest.raises(DataError, match=r"x\.parquet"):
            read(str(path))
