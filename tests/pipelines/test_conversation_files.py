"""Files in any state: what can be read is read, the rest is named with file, row and reason."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import conversation_files
from pipelines.conversation_files import BadRecord, FilePart, Record, plan, read_part

ROWS = [{"id": str(number), "messages": [{"role": "user", "content": f"text {number} " * 50}]} for number in range(40)]


def parquet(path: Path, rows: list[dict[str, Any]], row_group_size: int = 10) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size, compression="zstd")
    return path


def read(path: Path, columns: tuple[str, ...] | None = None) -> list[Record | BadRecord]:
    return list(read_part(FilePart(str(path), path.stat().st_size), columns, batch_rows=7))


def reasons(records: list[Record | BadRecord]) -> list[str]:
    return [record.reason for record in records if isinstance(record, BadRecord)]


def test_parquet_and_jsonl_give_the_same_numbered_records(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as handle:
        handle.write("".join(json.dumps(row) + "\n" for row in ROWS))
    expected = [Record(number, row) for number, row in enumerate(ROWS)]
    assert read(parquet(tmp_path / "a.parquet", ROWS)) == expected
    assert read(tmp_path / "a.jsonl") == read(tmp_path / "a.jsonl.gz") == expected


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [row | {"moderation": "x" * 100} for row in ROWS])
    assert read(path, ("id", "messages", "model"))[0] == Record(0, ROWS[0])


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, -1])
def test_a_truncated_parquet_file_is_one_bad_record(tmp_path: Path, keep: float) -> None:
    data = parquet(tmp_path / "a.parquet", ROWS).read_bytes()
    path = tmp_path / "cut.parquet"
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    assert reasons(read(path)) == ["unreadable_file"]
    assert len(read(path)) == 1


def test_a_damaged_row_group_costs_its_own_rows_only(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", ROWS)
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(2).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    records = read(path)
    assert reasons(records) == ["unreadable_rows"] * 10
    assert [record.row for record in records] == list(range(40))
    assert [record.row for record in records if isinstance(record, BadRecord)] == list(range(20, 30))


def test_a_file_without_conversations_is_one_bad_record_that_lists_its_columns(tmp_path: Path) -> None:
    [record] = read(parquet(tmp_path / "a.parquet", [{"text": "a", "score": 1.0}]))
    assert isinstance(record, BadRecord)
    assert (record.row, record.reason) == (None, "missing_column")
    assert "text, score" in record.detail


def test_a_bad_line_is_one_bad_record_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id": \n\n[1, 2]\n"\xff"\n' + b"[" * 100_000 + b'\n{"id": 2}')
    records = read(path)
    assert [record.row for record in records] == list(range(6))
    assert reasons(records) == ["bad_json"] * 3
    assert records[0] == Record(0, {"id": 1})
    assert records[-1] == Record(5, {"id": 2})


def test_a_line_without_end_is_skipped_without_filling_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_files, "MAX_LINE_BYTES", 100)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 1001 + b'\n{"id": 2}\n')
    assert [type(record) for record in read(path)] == [BadRecord, Record]


def test_half_an_emoji_becomes_the_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "a\\ud83d", "ok": "\\ud83d\\ude00"}\n')
    assert read(path) == [Record(0, {"id": "a\N{REPLACEMENT CHARACTER}", "ok": "\N{GRINNING FACE}"})]


def test_a_gzip_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    data = gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS * 50).encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data[: len(data) // 2])
    records = read(path)
    assert len(records) > 1
    assert reasons(records) == ["unreadable_file"]


def test_text_that_is_no_utf8_costs_its_own_row_only(tmp_path: Path) -> None:
    good, bad = pa.array(["a", "b"]).cast(pa.binary()), pa.array([b"\xff\xfe"])
    pq.write_table(pa.table({"messages": pa.concat_arrays([good, bad]).view(pa.string())}), tmp_path / "a.parquet")
    records = read(tmp_path / "a.parquet")
    assert reasons(records) == ["unreadable_row"]
    assert [record.row for record in records] == [0, 1, 2]


def test_large_parquet_files_are_shared_out_by_row_groups(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", ROWS)
    parts = plan([str(path)], split_bytes=path.stat().st_size // 2)
    assert [part.row_groups for part in parts] == [(0, 1), (2, 3)]
    assert [record for part in parts for record in read_part(part)] == read(path)
    assert plan([str(path)]) == [FilePart(str(path), path.stat().st_size)]
