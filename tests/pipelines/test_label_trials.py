"""Before the money is spent: dry run, sample, limit, and the end of a run whose input cannot be read."""

import json
from pathlib import Path

import pytest

from pipelines.label import run
from tests.pipelines.label_chats import conversation, rows, settings, summary, write_chats
from wildreward.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_a_dry_run_counts_what_a_run_would_ask_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats = write_chats(tmp_path / "chats")
    refusal = conversation(99, turns=1)
    refusal["messages"][1]["content"] = "I'm sorry, but I can't help with that."
    lines = [json.dumps(refusal), json.dumps(conversation(98, turns=0)), "no json"]
    (chats / "more.jsonl").write_text("\n".join(lines))
    nobody = {"judge": "openai", "judge_url": "http://127.0.0.1:1/v1", "judge_model": "m"}
    prices = {"usd_per_million_input": 1000, "usd_per_million_output": 0, "assumed_negative_frac": 1}
    run(settings(chats, tmp_path / "out", **nobody, **prices, dry_run=True, judge_tokenizer="minilm"))
    said = {line[:26].strip(): line[26:].split() for line in capsys.readouterr().out.splitlines()}
    counts = {name: parts[0] for name, parts in said.items() if parts}
    assert (counts["conversations"], counts["kept"], counts["no_follow_up"]) == ("43", "41", "1")
    assert (counts["quarantined: bad_json"], counts["turns to judge"], counts["refusal questions"]) == ("1", "81", "1")
    tokens = int(counts["prompt tokens"].replace(",", ""))
    assert 81 * 400 < tokens < 82 * 800
    assert float(counts["price"]) == round(tokens / 1000, 2)
    assert counts["completion tokens"] == f"{82 * 40:,}"
    assert not (tmp_path / "out").exists()


def test_a_sample_can_be_raised_to_the_whole_and_a_limit_takes_its_first(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    run(settings(chats, output, sample_frac=0.4, seed=1, limit=6))
    first = sorted(row["conversation_hash"] for row in rows(output / "feedback"))
    run(settings(chats, output, sample_frac=0.4, seed=1))
    sample = sorted(row["conversation_hash"] for row in rows(output / "feedback"))
    assert first == sample[:6]
    assert 8 <= len(sample) <= 24
    assert summary(output)["conversations"]["in"] == len(sample)
    with pytest.raises(UsageError, match="seed of the sample: 1 -> 2"):
        run(settings(chats, output, sample_frac=0.5, seed=2))
    run(settings(chats, output, seed=2))
    assert summary(output)["conversations"]["in"] == len(rows(output / "feedback")) == 40


def test_too_many_unreadable_rows_stop_the_run_while_it_reads_and_a_higher_share_continues_it(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats", files=1), tmp_path / "out"
    (chats / "broken.jsonl").write_text("{\n" * 1_500)
    with pytest.raises(DataError, match=r"conversations read so far \(\d+\.\d%\) cannot be read") as caught:
        run(settings(chats, output, label_batch_rows=100))
    assert "broken.jsonl row 0: bad_json" in str(caught.value)
    assert str(caught.value).endswith("another --output, or --overwrite.")  # and nothing of Ray's
    assert not (output / "wildfb").exists()
    assert len(rows(output / "feedback")) < 1_500
    run(settings(chats, output, label_batch_rows=100, max_quarantined_frac=1))
    counts = summary(output)["conversations"]
    assert counts == {"in": 1_520, "kept": 20, "no_follow_up": 0, "quarantined": {"bad_json": 1_500}}


def test_a_small_input_is_held_to_a_share_that_was_asked_for_when_all_is_read(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats", files=1), tmp_path / "out"
    (chats / "broken.jsonl").write_text("{\n" * 5)
    with pytest.raises(DataError, match=r"5 of 25 conversations \(20.0%\) cannot be read; allowed are 10.0%"):
        run(settings(chats, output, max_quarantined_frac=0.1))
    run(settings(chats, output, max_quarantined_frac=0.2, drop_duplicate_prompts="exact"))
    counts = summary(output)
    assert counts["conversations"]["quarantined"] == {"bad_json": 5}
    assert counts["rows"]["dropped"].keys() == {"neutral"}  # every prompt is another
