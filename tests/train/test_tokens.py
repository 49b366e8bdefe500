"""Input that cannot be trained on is refused with its file and column or row, before anything starts."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.train.conftest import wildfb_rows
from train import tokens
from train.program import open_backbone, prepare
from wildreward.errors import CheckpointError, DataError, UsageError
from wildreward.pretrained import load_tokenizer
from wildreward.settings.train import TrainSettings
from wildreward.template import InputTemplate

Write = Callable[..., Path]


def inspect(directory: Path) -> list[tokens.SourceFile]:
    return tokens.inspect(tokens.resolve([str(directory)]), 4)


def test_every_way_to_name_a_label_run_finds_its_training_rows_only(wildfb: Path) -> None:
    named = [str(wildfb), f"{wildfb}/wildfb", f"{wildfb}/wildfb/train", f"{wildfb}/wildfb/train/*.parquet"]
    assert {tuple(tokens.resolve([name])) for name in named} == {(f"{wildfb}/wildfb/train/part-0.parquet",)}


def test_a_folder_with_a_test_split_only_is_refused(wildfb: Path) -> None:
    with pytest.raises(UsageError, match=r"no training rows .* test is never trained on"):
        tokens.resolve([f"{wildfb}/wildfb/test"])


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: column conversation_hash, messages is missing"):
        inspect(tmp_path)


@pytest.mark.parametrize("label", [0, 5, None])
def test_a_label_out_of_range_is_named_with_its_row(tmp_path: Path, write_wildfb: Write, label: int | None) -> None:
    rows = wildfb_rows(6)
    rows[3]["label"] = label
    with pytest.raises(DataError, match=rf"part-0.parquet: row 3: label: found {label}; allowed are 1..4"):
        inspect(write_wildfb(tmp_path, rows))


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"a.parquet: not a readable parquet file"):
        inspect(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"), [([], "is empty"), (wildfb_rows(6, labels=(2,)), r"one class only \(2\)")]
)
def test_an_empty_split_and_one_class_are_refused(
    tmp_path: Path, write_wildfb: Write, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        tokens.check_split("training", inspect(write_wildfb(tmp_path, rows)))


def test_more_tokens_than_positions_are_refused(make_backbone: Write) -> None:
    settings = TrainSettings(backbone=str(make_backbone()), max_tokens=512)
    with pytest.raises(UsageError, match=r"--max-tokens 512: .* has 128 positions"):
        open_backbone(settings)


def test_a_backbone_without_a_pad_token_asks_for_one(make_backbone: Write) -> None:
    directory = make_backbone()
    tokenizer = load_tokenizer(str(directory))
    tokenizer.pad_token = None
    tokenizer.save_pretrained(directory)
    values = {"backbone": str(directory), "max_tokens": 64}
    with pytest.raises(CheckpointError, match=r"no pad token; name one \(train: --pad-token\)"):
        open_backbone(TrainSettings.parse(values))
    with pytest.raises(CheckpointError, match=r"'<none>', which is not in the tokenizer's vocabulary"):
        open_backbone(TrainSettings.parse({**values, "pad_token": "<none>"}))
    assert open_backbone(TrainSettings.parse({**values, "pad_token": "[PAD]"})).tokenizer.pad_token_id == 0


def test_shards_are_whole_row_groups_in_file_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SHARD_ROWS", 30)
    files = [tokens.SourceFile("a", (16, 16, 16), ()), tokens.SourceFile("b", (16,), ())]
    assert [(shard.pieces, shard.rows) for shard in tokens.shards("train", files)] == [
        ((("a", 0), ("a", 1)), 32),
        ((("a", 2), ("b", 0)), 32),
    ]


def test_a_shard_reads_back_as_it_was_tokenised(wildfb: Path, tmp_path: Path, make_backbone: Write) -> None:
    template, tokenizer = InputTemplate(max_tokens=64), load_tokenizer(str(make_backbone()))
    (shard,) = tokens.shards("train", inspect(wildfb))
    tokens.write_shard(shard, str(tmp_path), template, tokenizer)
    store = tokens.read(str(tmp_path), [shard.name])
    rows = wildfb_rows(80)
    assert store.input_ids(7) == template.encode(rows[7]["messages"], tokenizer).input_ids
    assert store.labels.tolist() == [row["label"] for row in rows]
    assert store.lengths[7] == len(store.input_ids(7))


def test_shards_of_an_object_store_read_back_alike_and_leave_no_copy(
    wildfb: Path, tmp_path: Path, make_backbone: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "BATCH_ROWS", 7)  # rows are read and written a few at a time, whatever the row group
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    template, tokenizer = InputTemplate(max_tokens=64), load_tokenizer(str(make_backbone()))
    (shard,) = tokens.shards("train", inspect(wildfb))
    tokens.write_shard(shard, str(tmp_path), template, tokenizer)
    tokens.write_shard(shard, "memory://bucket/tokens", template, tokenizer)
    ours, theirs = tokens.read(str(tmp_path), [shard.name]), tokens.read("memory://bucket/tokens", [shard.name])
    assert [ours.input_ids(row) for row in range(80)] == [theirs.input_ids(row) for row in range(80)]
    assert not list((tmp_path / "scratch").iterdir())


def test_a_row_that_does_not_end_with_a_reply_is_named(
    tmp_path: Path, write_wildfb: Write, make_backbone: Write
) -> None:
    rows = wildfb_rows(20)
    rows[17]["messages"] = rows[17]["messages"][:1]
    (shard,) = tokens.shards("train", inspect(write_wildfb(tmp_path, rows)))
    with pytest.raises(DataError, match=r"row group 1, row 1 \(id r17/0\): messages\[0\].role"):
        tokens.write_shard(shard, str(tmp_path), InputTemplate(max_tokens=64), load_tokenizer(str(make_backbone())))


def test_only_missing_shards_are_written_and_input_that_changed_is_refused(
    tiny_settings: dict[str, Any],
    tmp_path: Path,
    write_wildfb: Write,
    ray_cluster: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "SHARD_ROWS", 16)
    directory, made = write_wildfb(tmp_path / "label", wildfb_rows(40)), tmp_path / "tokens"
    settings = TrainSettings(output=str(tmp_path / "out"), **{**tiny_settings, "input": (str(directory),)})
    backbone = open_backbone(settings)
    first = prepare(settings, inspect(directory), backbone, str(made))
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("*.arrow")}
    (made / first.shards[1]).unlink()
    assert prepare(settings, inspect(directory), backbone, str(made)) == first
    after = {path.name: path.stat().st_mtime_ns for path in made.glob("*.arrow")}
    assert [name for name in before if after[name] != before[name]] == [first.shards[1]]
    write_wildfb(directory, wildfb_rows(44))
    with pytest.raises(DataError, match=r"--input has changed since the run began"):
        prepare(settings, inspect(directory), backbone, str(made))
