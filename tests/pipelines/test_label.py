"""The label stage on a real cluster, with the lexicon and with a real OpenAI-compatible server on loopback."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from pyarrow.dataset import dataset

from pipelines.label import run
from tests.judge_server import Behaviour, judge_server
from tests.pipelines.label_chats import (
    assert_schemas,
    contents,
    conversation,
    openai,
    records,
    rows,
    settings,
    summary,
    write_chats,
)
from wildreward.errors import JudgeError, UsageError
from wildreward.schema import WILDFB

pytestmark = pytest.mark.usefixtures("ray_cluster")


def malformed(folder: Path) -> Path:
    """Seven records: one is whole, one merely breaks the alternation, five cannot be read. And two bad files."""
    folder.mkdir()
    messages = conversation(1)["messages"]
    whole = conversation(0)
    broken = {
        "id": "broken",
        "messages": [*messages, {"role": "narrator", "content": "later"}, {"role": "user", "content": None}],
    }
    empty, null = {"id": "empty", "messages": []}, {"id": "null", "messages": [{"role": "user", "content": None}]}
    lines = [json.dumps(row) for row in (whole, broken, empty, null, {"id": "none"}, [1, 2])]
    (folder / "a.jsonl").write_text("\n".join([*lines, '{"id": "cut", "messages": [']))
    (folder / "b.parquet").write_bytes(b"PAR1 and nothing else")
    pq.write_table(pa.table({"text": ["a", "b"]}), folder / "c.parquet")
    return folder


def test_every_malformed_record_is_quarantined_with_its_file_row_and_reason(tmp_path: Path) -> None:
    chats, output = malformed(tmp_path / "chats"), tmp_path / "out"
    run(settings(chats, output))
    found = {(Path(row["source_file"]).name, row["source_row"]): row["reason"] for row in rows(output / "quarantine")}
    assert found == {
        ("a.jsonl", 2): "empty_conversation",
        ("a.jsonl", 3): "null_content",
        ("a.jsonl", 4): "missing_column",
        ("a.jsonl", 5): "wrong_type",
        ("a.jsonl", 6): "bad_json",
        ("b.parquet", None): "unreadable_file",
        ("c.parquet", None): "missing_column",
    }
    counts = summary(output)
    assert counts["conversations"]["in"] == 9
    assert counts["conversations"]["kept"] == 2
    assert counts["turns"]["in"] == counts["turns"]["labelled"] == 4
    assert counts["skipped_messages"] == {"null_content": 1, "unknown_role": 1}


def test_every_output_exists_with_its_schema_even_when_there_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(conversation(0, turns=0)) + "\n")
    run(settings(tmp_path / "a.jsonl", tmp_path / "out"))
    assert_schemas(tmp_path / "out")
    assert summary(tmp_path / "out")["conversations"] == {"in": 1, "kept": 0, "no_follow_up": 1, "quarantined": {}}
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png") >= 4


def test_where_nothing_is_labelled_every_file_keeps_its_schema_and_the_card_loads(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats", files=1), tmp_path / "out"
    with judge_server(Behaviour(garbage_frac=1.0)) as server:
        given = openai(server.url) | {"judge_max_reasks": 0, "judge_max_consecutive_failures": 1000}
        run(settings(chats, output, **given, export=["jsonl"]))
    assert summary(output)["turns"]["labelled"] == 0
    assert_schemas(output)
    assert hub_splits(output) == {"train": 0, "test": 0}
    assert [records(output / "export", side) for side in ("train", "test")] == [[], []]
    assert summary(output)["judge_requests_beyond_one"] == {"0": 40}


def hub_splits(output: Path) -> dict[str, int]:
    """Rows of each split, found as the Hub finds them: by the globs of the card's header."""
    [config] = DatasetCard((output / "README.md").read_text()).data.to_dict()["configs"]
    found = {}
    for split in config["data_files"]:
        rows = dataset([str(path) for path in sorted(output.glob(split["path"]))])
        assert rows.schema.equals(WILDFB)
        found[split["split"]] = rows.count_rows()
    return found


def test_an_export_is_the_rows_in_wildfbs_layout_and_needs_no_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    with judge_server() as server:
        given = openai(server.url)
        run(settings(chats, output, **given))
        asked, before = server.stats.as_dict(), contents(output)
        run(settings(chats, output, **given, export=["jsonl"]))
        assert server.stats.as_dict() == asked
        exported = contents(output / "export")
        for side in ("train", "test"):
            made, whole = records(output / "export", side), rows(output / "wildfb" / side)
            assert [record["id"] for record in made] == [f"{r['conversation_hash']}_turn{r['turn']}" for r in whole]
            assert [record["history"] + record["messages"] for record in made] == [row["messages"] for row in whole]
            assert [record["user_feedback"]["content"] for record in made] == [row["follow_up"] for row in whole]
            assert [record["label"] for record in made] == [row["label"] for row in whole]
        (tmp_path / "other.txt").write_text("{history}{query}{response}")
        run(settings(chats, output, **given, export=["jsonl"], export_template=str(tmp_path / "other.txt")))
        assert contents(output / "export") != exported
        run(settings(chats, output, **given, export=["jsonl"]))
        assert contents(output / "export") == exported
        run(settings(chats, output, **given, export=["jsonl"]))
        assert "nothing to do" in capsys.readouterr().out
        after = contents(output)
        assert {name for name in before if after[name] != before[name]} == {"settings.yaml"}
        run(settings(chats, output, **given, languages=["Chinese"]))  # other rows: the export of the old ones goes
        assert server.stats.as_dict() == asked
        assert not (output / "export").exists()


def test_no_conversation_is_on_both_sides_and_rows_end_with_the_judged_reply(tmp_path: Path) -> None:
    run(settings(write_chats(tmp_path / "chats", rows=30), tmp_path / "out", test_rows=20))
    train, test = (rows(tmp_path / "out" / "wildfb" / side) for side in ("train", "test"))
    counts = summary(tmp_path / "out")["rows"]
    assert (len(train), len(test)) == (counts["train"], counts["test"])
    assert hub_splits(tmp_path / "out") == {"train": len(train), "test": len(test)}
    assert "Turns were judged from 20" in (tmp_path / "out" / "report.html").read_text()
    assert abs(len(test) - 20) <= 2 < len(train)
    assert not {row["conversation_hash"] for row in train} & {row["conversation_hash"] for row in test}
    assert all(row["messages"][-1]["role"] == "assistant" for row in train + test)
    assert {row["label"] for row in train + test} <= {1, 2, 3, 4}


def test_the_same_command_twice_asks_the_judge_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    with judge_server() as server:
        run(settings(chats, output, **openai(server.url)))
        asked, first = server.stats.as_dict(), contents(output)
        run(settings(chats, output, **openai(server.url)))
        assert server.stats.as_dict() == asked
    assert asked["answered_again"] == 0
    assert_schemas(output)
    assert contents(output) == first
    assert "nothing to do" in capsys.readouterr().out


def test_other_cheap_settings_make_the_rows_again_without_asking_the_judge(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    with judge_server() as server:
        given = openai(server.url)
        run(settings(chats, output, **given))
        asked, feedback, four = server.stats.as_dict(), contents(output / "feedback"), summary(output)
        run(settings(chats, output, **given, class_map="five", test_rows=0))
        assert server.stats.as_dict() == asked
    five = summary(output)
    assert contents(output / "feedback") == feedback
    assert_schemas(output)
    assert (five["rows"]["test"], five["rows"]["dropped"]) == (0, {})
    assert four["rows"]["dropped"] == {"neutral": four["levels"]["refined"]["3"]}
    assert "class_map: five" in (output / "settings.yaml").read_text()


def test_another_judge_for_the_same_output_is_refused_by_name_until_overwritten(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats", files=1), tmp_path / "out"
    run(settings(chats, output))
    with judge_server() as server:
        with pytest.raises(UsageError, match=r"judge: lexicon -> openai; .*judge_model: None -> lexicon"):
            run(settings(chats, output, **openai(server.url)))
        run(settings(chats, output, **openai(server.url), overwrite=True))
    assert {turn["judge"] for row in rows(output / "feedback") for turn in row["turns"]} == {"lexicon"}
    assert len(list((output / "feedback").glob("*.parquet"))) == 2


def test_added_files_are_judged_and_those_before_are_not_judged_again(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    with judge_server() as server:
        run(settings(chats, output, **openai(server.url)))
        before = server.stats.as_dict()["requests"]
        run(settings(write_chats(chats, files=1, first=2), output, **openai(server.url)))
        assert server.stats.as_dict()["answered_again"] == 0
        assert server.stats.as_dict()["requests"] - before == before / 2
    assert summary(output)["conversations"]["kept"] == 60
    (chats / "chats-000.jsonl").unlink()
    with pytest.raises(UsageError, match=r"chats-000.jsonl is gone or has changed"):
        run(settings(chats, output, **openai(server.url)))


def test_a_limit_reads_the_first_conversations_and_can_be_raised(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    run(settings(chats, output, limit=25))
    assert sorted(row["conversation_hash"] for row in rows(output / "feedback"))[-1] == "chat-00024"
    run(settings(chats, output))
    assert [summary(output)["conversations"]["in"], len(rows(output / "feedback"))] == [40, 40]
    with pytest.raises(UsageError, match="limit: None -> 25"):
        run(settings(chats, output, limit=25))


def test_a_judge_that_cannot_be_used_stops_the_run_with_its_own_words(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    with judge_server(Behaviour(model="another")) as server:
        with pytest.raises(JudgeError, match=r"(?s)does not exist.*same command again to continue") as caught:
            run(settings(chats, output, **openai(server.url)))
        assert "Traceback" not in str(caught.value)
    with judge_server() as server:
        run(settings(chats, output, **openai(server.url)))
    assert summary(output)["conversations"]["kept"] == 40


def test_turns_the_judge_does_not_answer_are_errors_and_never_a_class(tmp_path: Path) -> None:
    chats, output = write_chats(tmp_path / "chats"), tmp_path / "out"
    with judge_server(Behaviour(garbage_frac=0.5)) as server:
        run(settings(chats, output, **openai(server.url), judge_max_reasks=0))
    counts = summary(output)
    [(reason, errors)] = counts["turns"]["errors"].items()
    assert 20 < errors < 60
    assert counts["turns"]["labelled"] == 80 - errors == counts["rows"]["in"]
    turns = [turn for row in rows(output / "feedback") for turn in row["turns"]]
    assert all((turn["level"] is None) == (turn["error"] == reason) for turn in turns)


def test_hindsight_measures_follow_ups_with_the_real_embedder(tmp_path: Path) -> None:
    run(settings(write_chats(tmp_path / "chats"), tmp_path / "out", hindsight_window_turns=2))
    measured = [
        (turn["level"], similarity["cosine"])
        for row in rows(tmp_path / "out" / "feedback")
        for turn in row["turns"]
        for similarity in turn["similarities"] or ()
    ]
    assert measured
    assert {level for level, _ in measured} == {3}
    assert all(-1 <= cosine <= 1 for _, cosine in measured)


def test_input_and_output_are_asked_for_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--output"):
        run(settings(tmp_path, ""))
    with pytest.raises(UsageError, match="no file found"):
        run(settings(tmp_path, tmp_path / "out"))
    (tmp_path / "out" / "wildfb").mkdir(parents=True)
    with pytest.raises(UsageError, match="has a wildfb/ that no label run left there"):
        run(settings(write_chats(tmp_path / "chats"), tmp_path / "out"))
