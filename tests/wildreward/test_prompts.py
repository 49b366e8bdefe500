"""Prompts from every format, with their history; what cannot be read is counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.errors import DataError, UsageError
from wildreward.prompts import Prompt, Turn, positions_of_step, prompts_of_row, read_prompts, split_held_out
from wildreward.schema import WILDFB, table


def chat(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def texts(prompts: list[Prompt]) -> list[list[str]]:
    return [[message["content"] for message in prompt.messages] for prompt in prompts]


def read(*inputs: Path | str, turn: Turn = "last") -> tuple[list[Prompt], Counter[str]]:
    skipped: Counter[str] = Counter()
    return list(read_prompts(list(map(str, inputs)), skipped, turn)), +skipped


def write_jsonl(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_the_history_is_kept_and_the_reply_goes() -> None:
    assert texts(prompts_of_row({"messages": chat("a", "b", "c", "d")})) == [["a", "b", "c"]]


@pytest.mark.parametrize(("turn", "expected"), [("first", [["a"]]), ("all", [["a"], ["a", "b", "c"]])])
def test_the_turn_decides_which_user_messages_are_prompts(turn: Any, expected: list[list[str]]) -> None:
    assert texts(prompts_of_row({"messages": chat("a", "b", "c")}, turn)) == expected


def test_a_system_message_stays_in_front() -> None:
    row = {"messages": [{"role": "system", "content": "Be brief."}, *chat("a", "b")]}
    assert texts(prompts_of_row(row)) == [["Be brief.", "a"]]


def test_wildchat_columns_and_plain_prompts_are_read(tmp_path: Path) -> None:
    conversation = [message | {"toxic": False, "turn_identifier": 1} for message in chat("a", "b")]
    pq.write_table(pa.Table.from_pylist([{"conversation": conversation}]), tmp_path / "wildchat.parquet")
    plain = write_jsonl(tmp_path / "plain.jsonl", {"prompt": "x"}, {"prompt": chat("y")})
    prompts, skipped = read(tmp_path / "wildchat.parquet", plain)
    assert texts(prompts) == [["a"], ["x"], ["y"]]
    assert not skipped


def test_of_a_label_run_the_training_rows_are_read(tmp_path: Path) -> None:
    for part, text in (("train", "seen"), ("test", "held")):
        (tmp_path / "wildfb" / part).mkdir(parents=True)
        rows = table([{"id": text, "messages": chat(text, "reply")}], WILDFB)
        pq.write_table(rows, tmp_path / "wildfb" / part / "0.parquet")
    for path in (tmp_path, tmp_path / "wildfb", tmp_path / "wildfb" / "train"):
        assert texts(read(path)[0]) == [["seen"]]
    assert texts(read(tmp_path / "wildfb" / "test")[0]) == [["held"]]


def test_what_cannot_be_read_is_counted_by_reason(tmp_path: Path) -> None:
    bad = [{"messages": []}, {"messages": [{"role": "bot", "content": "x"}]}, {"messages": None}, ["no row"], {}]
    only_replies = {"messages": [{"role": "system", "content": "Be brief."}]}
    path = write_jsonl(tmp_path / "mixed.jsonl", {"messages": chat("a")}, *bad, only_replies)
    with open(path, "a", encoding="utf-8") as handle:
        handle.write("{half a row\n")
    prompts, skipped = read(path)
    assert texts(prompts) == [["a"]]
    assert skipped == {"missing_column": 3, "unknown_role": 1, "unreadable_row": 2, "no_user_message": 1}


def test_messages_are_read_as_label_reads_them() -> None:
    """In parts, with tool calls between, and of two user messages in a row the one that was answered."""
    parts = [{"type": "text", "text": "part one"}, {"type": "text", "text": "part two"}]
    row = [{"role": "user", "content": "nobody answered"}, {"role": "user", "content": parts}]
    row += [{"role": "tool", "content": "42"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert texts(prompts_of_row({"messages": row})) == [["part one\npart two", "b", "c"]]


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        read(tmp_path / "broken.parquet")


def test_a_file_without_a_usable_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="text"):
        read(tmp_path / "other.parquet")


def test_an_input_that_is_not_there_is_named_with_its_flag(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--eval-input .*nowhere"):
        list(read_prompts([str(tmp_path / "nowhere")], Counter(), flag="--eval-input"))


def test_prompts_of_one_conversation_are_on_one_side_of_the_split() -> None:
    prompts = [p for i in range(20) for p in prompts_of_row({"messages": chat(f"open {i}", "b", f"then {i}")}, "all")]
    groups = [prompt.group for prompt in prompts]
    training, held_out = split_held_out(groups, 6, seed=3)
    assert len(held_out) == 6
    assert not {groups[place] for place in training} & {groups[place] for place in held_out}
    assert split_held_out(groups, 6, seed=3) == (training, held_out)


def test_every_epoch_uses_every_prompt_once_in_another_order() -> None:
    steps = [positions_of_step(10, 4, seed=1, step=step) for step in range(5)]
    order = [position for step in steps for position in step]
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]
    assert positions_of_step(10, 4, seed=1, step=3) == steps[3]
