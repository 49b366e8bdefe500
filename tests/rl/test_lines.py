"""Lines of a run: appended, cut back on resume, and in an object store uploaded whole."""

from pathlib import Path

import pytest

from rl.lines import Lines, read_lines
from wildreward import storage


def test_a_resumed_run_drops_later_lines_and_a_half_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = Lines(str(path), -1)
    for step in range(4):
        lines.append({"step": step, "text": "词"})
    with path.open("a", encoding="utf-8") as handle:
        handle.write('{"step": 9, "te')
    again = Lines(str(path), 1)
    assert again.last_step == 3
    again.append({"step": 2, "text": "anew"})
    assert [(row["step"], row["text"]) for row in read_lines(path)] == [(0, "词"), (1, "词"), (2, "anew")]


def test_in_an_object_store_what_was_flushed_is_there_for_the_next_process(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    path = "s3://runs/out/metrics.jsonl"
    lines = Lines(path, -1)
    lines.append({"step": 0})
    lines.flush()
    lines.append({"step": 1})
    lines.flush(now=True)
    assert [row["step"] for row in read_lines(path)] == [0, 1]
    again = Lines(path, 0)
    again.append({"step": 1, "again": True})
    again.close()
    assert list(read_lines(path)) == [{"step": 0}, {"step": 1, "again": True}]
    assert storage.children(storage.refreshed("s3://runs/out")) == [path]
