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
from wildreward.labelling import LabelCounts, Labelling
from wildreward.pretrained import load_tokenizer
from wildreward.settings.train import TrainSettings
from wildreward.template import InputTemplate

Write = Callable[..., Path]
FOUR = Labelling(num_classes=4)


def inspect(directory: Path) -> list[tokens.SourceFile]:
    return tokens.inspect(tokens.resolve([str(directory)]), FOUR)


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
    files = [tokens.SourceFile("a", (16, 16, 16), LabelCounts()), tokens.SourceFile("b", (16,), LabelCounts())]
    assert [(shard.pieces, shard.rows) for shard in tokens.shards("train", files)] == [
        ((("a", 0), ("a", 1)), 32),
        ((("a", 2), ("b", 0)), 32),
    ]


def test_a_shard_reads_back_as_it_was_tokenised(wildfb: Path, tmp_path: Path, make_backbone: Write) -> None:
    template, tokenizer = InputTemplate(max_tokens=64), load_tokenizer(str(make_backbone()))
    (shard,) = tokens.shards("train", inspect(wildfb))
    tokens.write_shard(shard, str(tmp_path), template, tokenizer)
    store = tokens.read(str(tmp_path), [shard.name], FOUR)
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
    ours, theirs = (tokens.read(place, [shard.name], FOUR) for place in (str(tmp_path), "memory://bucket/tokens"))
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


SOFT = Labelling(num_classes=4, class_map="four", soft=True)


def tokenised(directory: Path, output: Path, make_backbone: Write) -> str:
    (shard,) = tokens.shards("train", inspect(directory))
    tokens.write_shard(shard, str(output), InputTemplate(max_tokens=64), load_tokenizer(str(make_backbone())))
    return shard.name


@pytest.mark.parametrize(
    ("probs", "message"),
    [([0.5, 0.5], "found 2 numbers; expected 5"), ([0.5] * 5, r"which sum to 2.5; they must sum to 1")],
)
def test_level_probs_that_are_no_distribution_are_named_with_their_row(
    tmp_path: Path, write_wildfb: Write, probs: list[float], message: str
) -> None:
    rows = wildfb_rows(20)
    rows[17]["level_probs"] = probs
    directory = write_wildfb(tmp_path, rows)
    with pytest.raises(DataError, match=rf"part-0.parquet: row 17: level_probs: .*{message}"):
        tokens.inspect(tokens.resolve([str(directory)]), SOFT)
    inspect(directory)  # hard targets do not read them


def test_a_level_column_is_needed_by_a_class_map_alone(tmp_path: Path) -> None:
    rows = {"id": ["a"], "conversation_hash": ["a"], "messages": [[]], "label": [1]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    inspect(tmp_path)
    with pytest.raises(DataError, match=r"a.parquet: column level, level_probs is missing"):
        tokens.inspect([str(tmp_path / "a.parquet")], SOFT)


def test_one_tokenisation_serves_every_class_map_and_target(
    tmp_path: Path, write_wildfb: Write, make_backbone: Write
) -> None:
    rows = wildfb_rows(20)
    rows[5]["level"] = 3
    name = tokenised(write_wildfb(tmp_path, rows), tmp_path / "tokens", make_backbone)

    def read(labelling: Labelling) -> tokens.TokenStore:
        return tokens.read(str(tmp_path / "tokens"), [name], labelling)

    kept = [row for row in rows if row["level"] != 3]
    data, four, binary, soft = read(FOUR), read(Labelling(4, "four")), read(Labelling(2, "binary")), read(SOFT)
    assert (len(data), len(four), len(binary), len(soft)) == (20, 19, 19, 19)
    assert four.labels.tolist() == [row["label"] for row in kept]
    assert binary.labels.tolist() == [1 + (row["level"] > 3) for row in kept]
    assert four.input_ids(5) == data.input_ids(6)
    assert four.class_probs([0]) == [[1.0, 0.0, 0.0, 0.0]]
    assert soft.class_probs([0]) == [[1.0, 0.0, 0.0, 0.0]]  # its row has no level_probs
    assert soft.class_probs([1])[0] == pytest.approx([0.05 / 0.95, 0.8 / 0.95, 0.05 / 0.95, 0.05 / 0.95])


def test_the_same_conversations_are_set_apart_whatever_the_class_map(
    tmp_path: Path, write_wildfb: Write, make_backbone: Write
) -> None:
    from train.worker import split

    rows = wildfb_rows(40)
    for row in rows[::4]:
        row["level"] = 3
    name = tokenised(write_wildfb(tmp_path, rows), tmp_path / "tokens", make_backbone)
    apart = []
    for labelling in (Labelling(5, "five"), Labelling(4, "four")):
        store = tokens.read(str(tmp_path / "tokens"), [name], labelling)
        names = store.table.column("conversation_hash").to_pylist()
        apart.append({names[row] for row in split(store, TrainSettings(validation_frac=0.3))[1].rows})
    assert apart[1] <= apart[0]
    assert len(apart[1]) > 2
