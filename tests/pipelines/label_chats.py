"""Small chat logs for the tests of label: every text is different, so that a judge's questions can be counted."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from wildreward.schema import FEEDBACK, QUARANTINE, WILDFB
from wildreward.settings.label import LabelSettings

FOLLOW_UPS = (
    "No, that is wrong. Please correct it, you made a mistake in step {n}.",
    "Now write about the history of the town number {n} as well.",
    "Thank you so much, that is exactly what I needed for number {n}!",
    "That's not what I asked for. I asked about number {n}.",
)


def conversation(number: int, turns: int = 2) -> dict[str, Any]:
    """A chat of `turns` turns that can be judged, with all kinds of follow-ups."""
    messages = [{"role": "user", "content": f"Please explain in some detail how the machine number {number} works."}]
    for turn in range(turns):
        reply = f"The machine number {number} works in {turn + 3} steps, which I will now explain to you one by one."
        follow_up = FOLLOW_UPS[(number + turn) % len(FOLLOW_UPS)].format(n=number)
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": follow_up}]
    return {"id": f"chat-{number:05d}", "model": "tiny", "language": "English", "messages": messages}


def write_chats(folder: Path, files: int = 2, rows: int = 20, first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(first, first + files):
        lines = [json.dumps(conversation(number * rows + row)) + "\n" for row in range(rows)]
        (folder / f"chats-{number:03d}.jsonl").write_text("".join(lines))
    return folder


def settings(chats: Path | str, output: Path | str, **given: Any) -> LabelSettings:
    """Settings of a quick run: no hindsight (it loads a model), small blocks, everything that is judged is kept."""
    quick: dict[str, Any] = {"hindsight_window_turns": 0, "label_batch_rows": 16, "filters": ["none"]}
    return LabelSettings.parse({"input": [str(chats)], "output": str(output)} | quick | given)


def openai(url: str) -> dict[str, Any]:
    return {"judge": "openai", "judge_url": url, "judge_model": "lexicon", "judge_concurrency": 16}


def assert_schemas(output: Path) -> None:
    """Every output file has exactly its documented schema: names, types and order, whatever is null in it."""
    folders = {"feedback": FEEDBACK, "quarantine": QUARANTINE, "wildfb/train": WILDFB, "wildfb/test": WILDFB}
    for folder, schema in folders.items():
        files = list((output / folder).glob("*.parquet"))
        assert files, f"{folder} has no file"
        for path in files:
            assert pq.read_schema(path).equals(schema), path


def records(folder: Path, side: str) -> list[dict[str, Any]]:
    """What was exported of one side, in order."""
    files = sorted(folder.glob(f"{side}-*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def summary(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return found


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte by byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
