"""Paths and files: globs, directories, memory and local file systems alike; writes are whole or absent."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from wildreward import storage
from wildreward.errors import DataError, UsageError


def test_a_directory_a_glob_and_a_file_name_each_file_once(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "note.txt", "deep/c.parquet", "_tmp/d.parquet"):
        storage.write_text(str(tmp_path / name), "x")
    found = storage.expand([str(tmp_path), str(tmp_path / "*.parquet"), str(tmp_path / "a.parquet")], [".parquet"])
    assert [Path(name).name for name in found] == ["a.parquet", "b.parquet", "c.parquet"]


def test_a_pattern_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\*\.parquet: no file found"):
        storage.expand([str(tmp_path / "nothing*.parquet")], [".parquet"])


def test_an_unknown_protocol_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        storage.exists("nosuch://bucket/key")


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="gcsfs is installed here")
def test_a_protocol_without_its_package_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"gs://bucket/key: .*install gcsfs"):
        storage.exists("gs://bucket/key")


def test_remote_files_keep_their_protocol() -> None:
    storage.write_text("memory://bucket/one.jsonl", "{}")
    assert storage.expand(["memory://bucket"], [".jsonl"]) == ["memory:///bucket/one.jsonl"]
    assert storage.read_text("memory://bucket/one.jsonl") == "{}"
    storage.remove("memory://bucket")
    assert not storage.exists("memory://bucket/one.jsonl")


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "summary.json"
    storage.write_text(str(target), "one")
    storage.write_text(str(target), "two")
    assert [path.name for path in target.parent.iterdir()] == ["summary.json"]
    assert target.read_text() == "two"


@pytest.mark.parametrize("where", ["local", "memory"])
def test_a_file_written_in_pieces_is_there_whole_or_not_at_all(tmp_path: Path, where: str) -> None:
    path = str(tmp_path / "a" / "b.jsonl") if where == "local" else "memory://pieces/b.jsonl"
    with pytest.raises(TypeError), storage.writing(path) as handle:
        handle.writelines([b"half", None])  # type: ignore[list-item]  # fails in the middle of the block
    assert not storage.exists(path)
    with storage.writing(path) as handle:
        handle.write(b"one ")
        handle.write(b"two")
        assert not storage.exists(path)
    assert storage.read_text(path) == "one two"
    assert [item.name for item in (tmp_path / "a").glob("*")] == (["b.jsonl"] if where == "local" else [])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json"):
        storage.read_text(str(tmp_path / "absent.json"))


def test_rows_of_which_some_files_are_missing_are_no_input(tmp_path: Path) -> None:
    """What a label run killed while it publishes on an object store leaves behind."""
    for number in (0, 2):
        storage.write_text(str(tmp_path / f"wildfb/train/part-0000{number}-of-00003.parquet"), "x")
    storage.write_text(str(tmp_path / "wildfb/test/part-00000-of-00001.parquet"), "x")
    for folder in (tmp_path, tmp_path / "wildfb", tmp_path / "wildfb/train"):
        with pytest.raises(DataError, match=r"wildfb/train: 2 of 3 files are there.*same label command again"):
            storage.expand([str(folder)], [".parquet"])
    assert len(storage.expand([str(tmp_path / "wildfb/test")], [".parquet"])) == 1
    assert len(storage.expand([str(tmp_path / "wildfb/train/*")], [".parquet"])) == 2  # asked for by name
    storage.write_text(str(tmp_path / "wildfb/train/part-00001-of-00003.parquet"), "x")
    assert len(storage.expand([str(tmp_path)], [".parquet"])) == 4
