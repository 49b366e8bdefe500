"""The generator: the same for a seed, rich in levels and cases, lengths that say nothing, truth that stays apart."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from wildreward.scale import LEVELS, NEUTRAL
from wildreward.settings.label import FILTERS
from wildreward.synthetic.generate import Sample, generate, sample, truth_schema, wildchat_schema, write
from wildreward.synthetic.special import CASES

CONVERSATIONS = 600


@pytest.fixture(scope="module")
def made() -> Sample:
    return sample(0, CONVERSATIONS)


@pytest.fixture(scope="module")
def turns(made: Sample) -> list[dict[str, Any]]:
    """Truth beside the texts of each turn: prompt, reply, follow_up."""
    messages = {row["conversation_hash"]: row["conversation"] for row in made.rows}
    messages |= {chat["conversation_hash"]: chat["messages"] for chat in made.chats}
    found = []
    for truth in made.truth:
        talk = messages[truth["conversation_hash"]]
        opening = talk[0]["role"] == "assistant"
        prompt, reply, follow_up = talk[2 * truth["turn"] + opening :][:3]
        assert [prompt["role"], reply["role"], follow_up["role"]] == ["user", "assistant", "user"]
        texts = {"prompt": prompt["content"], "reply": reply["content"], "follow_up": follow_up["content"]}
        found.append(truth | texts)
    return found


def test_the_same_seed_gives_the_same_sample_and_another_seed_another() -> None:
    assert sample(3, 150) == sample(3, 150)
    hashes = [{row["conversation_hash"] for row in generate(seed, 150)} for seed in (3, 4)]
    assert not {name for name in hashes[0] & hashes[1] if not name.startswith("malformed")}


def test_written_files_are_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, seed=1, conversations=120, shards=2)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 2 + 4 + 1
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_every_level_is_there_and_neutral_is_the_most_frequent(made: Sample) -> None:
    counts = Counter(turn["true_level"] for turn in made.truth)
    assert set(counts) == set(LEVELS)
    assert counts.most_common(1)[0][0] == NEUTRAL
    assert min(counts.values()) > len(made.truth) / 20


def test_both_languages_and_every_case_are_there_even_in_a_small_sample() -> None:
    small = sample(0, 120)
    assert set(CASES) <= {turn["case"] for turn in small.truth}
    assert {"English", "Chinese"} <= {row["language"] for row in small.rows}


def test_every_quality_filter_has_a_case(made: Sample) -> None:
    assert {turn["drop"] for turn in made.truth} - {None} == set(FILTERS)


def test_many_conversations_have_no_follow_up(made: Sample) -> None:
    single = [row for row in made.rows if len(row["conversation"] or ()) == 2]
    assert len(single) > len(made.rows) / 20


def test_the_length_of_a_reply_says_nothing_about_its_quality(turns: list[dict[str, Any]]) -> None:
    for language in ("English", "Chinese"):
        chosen = [turn for turn in turns if turn["case"] == "ordinary" and turn["language"] == language]
        lengths = [len(turn["reply"]) for turn in chosen]
        assert abs(spearmanr([turn["grade"] for turn in chosen], lengths).statistic) < 0.12
        said = [turn for turn in chosen if turn["true_level_refined"] != NEUTRAL]
        levels = [turn["true_level_refined"] for turn in said]
        assert abs(spearmanr(levels, [len(turn["reply"]) for turn in said]).statistic) < 0.15


def test_levels_follow_the_quality_with_noise(turns: list[dict[str, Any]]) -> None:
    chosen = [turn for turn in turns if turn["grade"] is not None and turn["true_level"] != NEUTRAL]
    found = spearmanr([turn["grade"] for turn in chosen], [turn["true_level"] for turn in chosen]).statistic
    assert 0.6 < found < 0.95


def test_a_follow_up_wording_is_shared_by_turns_of_many_qualities(turns: list[dict[str, Any]]) -> None:
    """Levels come from what the user says, never from a mark that a grade leaves in the text."""
    by_level = {level: Counter[int]() for level in LEVELS}
    for turn in turns:
        if turn["grade"] is not None:
            by_level[turn["true_level"]][turn["grade"]] += 1
    assert all(len(grades) >= 4 for grades in by_level.values())


def test_hardly_a_reply_or_a_follow_up_is_repeated(turns: list[dict[str, Any]]) -> None:
    ordinary = [turn for turn in turns if turn["case"] == "ordinary"]
    assert len({turn["reply"] for turn in ordinary}) > 0.9 * len(ordinary)
    assert len({turn["follow_up"].lower() for turn in ordinary}) > 0.7 * len(ordinary)


def test_hindsight_takes_a_positive_and_leaves_off_topic_and_blocked_ones(made: Sample) -> None:
    opening = {turn["conversation_hash"]: turn for turn in made.truth if turn["turn"] == 0}
    for turn in opening.values():
        if turn["case"] == "hindsight":
            assert (turn["true_level"], turn["true_level_refined"]) == (3, 5)
        elif turn["case"].startswith("hindsight_"):
            assert (turn["true_level"], turn["true_level_refined"]) == (3, 3)


def test_a_justified_refusal_turns_a_negative_into_satisfaction_and_a_false_one_does_not(made: Sample) -> None:
    refused = [turn for turn in made.truth if turn["refusal"] is not None]
    assert {turn["refusal"] for turn in refused} == {0, 1}
    for turn in refused:
        assert turn["true_level"] in {1, 2}
        assert turn["true_level_refined"] == (5 if turn["refusal"] else turn["true_level"])


def test_rows_tell_nothing_of_the_truth(made: Sample) -> None:
    assert {name for row in made.rows for name in row} == set(wildchat_schema().names)
    named = {field.name for field in wildchat_schema().field("conversation").type.value_type}
    messages = [message for row in made.rows for message in row["conversation"] or () if message is not None]
    assert {name for message in messages for name in message} <= named
    assert {name for chat in made.chats for name in chat} == {"conversation_hash", "messages", "language"}
    by_case = {turn["conversation_hash"]: turn["case"] for turn in made.truth}
    models = Counter((row["model"], by_case.get(row["conversation_hash"]) == "ordinary") for row in made.rows)
    assert len({model for model, ordinary in models if ordinary}) == len({model for model, _ in models})


def test_every_true_level_belongs_to_one_turn_that_is_there(made: Sample, turns: list[dict[str, Any]]) -> None:
    keys = [(turn["conversation_hash"], turn["turn"]) for turn in made.truth]
    assert len(set(keys)) == len(keys) == len(turns)
    assert all(turn["prompt"].strip() and turn["reply"].strip() and turn["follow_up"].strip() for turn in turns)
    assert not any(
        "{" in turn["follow_up"] and "{" not in turn["prompt"] for turn in turns if turn["case"] != "ordinary"
    )


def test_files_hold_the_schema_the_malformed_rows_and_the_damaged_files(tmp_path: Path) -> None:
    made = write(tmp_path, seed=0, conversations=120, shards=3)
    data = tmp_path / "conversations"
    shards = sorted(data.glob("train-*.parquet"))
    tables = [pq.read_table(path) for path in shards]
    assert len(shards) == 3
    assert sum(table.num_rows for table in tables) == len(made.rows)
    assert all(table.schema == wildchat_schema() for table in tables)
    hashes = {name for table in tables for name in table["conversation_hash"].to_pylist()}
    assert len([name for name in hashes if name.startswith("malformed-")]) == 8
    assert pq.read_schema(tmp_path / "truth.parquet") == truth_schema()
    for path in data.glob("damaged-*.parquet"):
        with pytest.raises((OSError, pa.ArrowInvalid), match="Parquet"):
            pq.read_table(path)


def test_the_chat_log_has_good_lines_among_bad_ones(tmp_path: Path) -> None:
    made = write(tmp_path, seed=0, conversations=120)
    good, bad = [], 0
    for line in (tmp_path / "conversations" / "chat-log.jsonl").read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            bad += 1
            continue
        if isinstance(value, dict) and "conversation_hash" in value:
            good.append(value)
    assert good == made.chats
    assert bad >= 3
