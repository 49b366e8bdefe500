"""Prompts of a run: the whole history reaches the policy and the reward model, from any place, or is counted."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl.models import load_tokenizer
from rl.prompts import RunPrompts, prompts_of_run
from rl.rollout import Timed
from rl.scorer import ScorerWorker
from tests.checkpoints import tiny_checkpoint
from tests.rl.tiny import ShareOfE, settings
from wildreward import storage
from wildreward.errors import UsageError
from wildreward.pairs import Completion
from wildreward.reward_model import RewardModel

TALK = [
    {"role": "user", "content": "How is tea made?"},
    {"role": "assistant", "content": "It takes time."},
    {"role": "user", "content": "No, how is paper made?"},
    {"role": "assistant", "content": "the reply that goes"},
]


def chat(*texts: str) -> dict[str, Any]:
    return {"messages": [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]}


def found(start: Path, tmp_path: Path, *rows: Any, **changed: Any) -> RunPrompts:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = settings(tmp_path, policy=str(start), **{"input": (str(path),)} | changed)
    return prompts_of_run(given, load_tokenizer(str(start)))


def test_policy_and_reward_model_read_the_whole_history(start: Path, tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"messages": TALK}, chat("Another one.")])
    pq.write_table(table, tmp_path / "chats.parquet")
    prompts = found(start, tmp_path, input=(str(tmp_path / "chats.parquet"),), eval_prompts=2)
    [item] = [item for item in [*prompts.training, *prompts.held_out] if len(item.prompt.messages) == 3]
    history = [message["content"] for message in TALK[:3]]
    assert in_order(history, load_tokenizer(str(start)).decode(item.ids))

    read: list[Any] = []

    class Reading(ShareOfE):
        def score(self, conversations: Any, batch_tokens: int = 8192) -> Any:
            read.extend(conversations)
            return super().score(conversations)

    completion = Completion("Step by step.", (5,), cut_off=False, version=0)
    ScorerWorker(Reading, threads=1).score([item.prompt.messages], Timed([[completion]], 0.0, 1))
    model = RewardModel.load(tiny_checkpoint(tmp_path / "reward"))
    [conversation] = read
    encoded = model.tokenizer.decode(model.encode(conversation).input_ids)
    assert in_order(
        [text.lower() for text in [*history, "Step by step."]],
        encoded.replace(" ?", "?").replace(" .", ".").replace(" ,", ","),
    )
    assert "the reply that goes" not in encoded


def in_order(texts: list[str], whole: str) -> bool:
    places = [whole.find(text) for text in texts]
    return -1 not in places and places == sorted(places)


def test_what_is_left_out_is_counted(start: Path, tmp_path: Path) -> None:
    rows = [chat("How is tea made?"), chat("How is rice made?"), chat("How is tea made?", "again"), chat("very " * 99)]
    prompts = found(start, tmp_path, *rows, {"messages": None})
    assert prompts.skipped == {"duplicate": 1, "too_long": 1, "missing_column": 1}
    assert (len(prompts.training), len(prompts.held_out)) == (1, 1)


def test_the_first_prompts_that_fit_are_used_and_the_rest_is_not_read(start: Path, tmp_path: Path) -> None:
    rows = [chat("very " * 99), chat("a"), chat("b"), chat("c"), {"messages": None}]
    prompts = found(start, tmp_path, *rows, max_prompts=2)
    assert prompts.skipped == {"too_long": 1}
    assert sorted(p.prompt.messages[0]["content"] for p in [*prompts.training, *prompts.held_out]) == ["a", "b"]


def test_a_conversation_that_the_chat_template_refuses_is_counted(start: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(start))
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tokenizer.chat_template
    )
    path = tmp_path / "rows.jsonl"
    system = {"messages": [{"role": "system", "content": "Be brief."}, *TALK[:1]]}
    path.write_text("".join(json.dumps(row) + "\n" for row in (system, chat("a"), chat("b"))))
    prompts = prompts_of_run(settings(tmp_path, policy=str(start), input=(str(path),)), tokenizer)
    assert prompts.skipped == {"refused_by_chat_template": 1}


def test_held_out_prompts_of_their_own_are_kept_out_of_training(start: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text("".join(json.dumps(chat(text)) + "\n" for text in ("a", "x", "y")))
    given = {"eval_input": (str(held),), "eval_prompts": 2}
    prompts = found(start, tmp_path, chat("a"), chat("b"), chat("c"), **given)
    assert prompts.skipped == {"also_held_out": 1}
    assert [item.prompt.messages[0]["content"] for item in prompts.training] == ["b", "c"]
    assert [item.prompt.messages[0]["content"] for item in prompts.held_out] == ["a", "x"]
    other = found(start, tmp_path, chat("a"), chat("b"), chat("d"), **given)
    assert other.digest != prompts.digest == found(start, tmp_path, chat("a"), chat("b"), chat("c"), **given).digest


def test_too_few_prompts_name_the_flag_and_the_reasons(start: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--input .*'too_long': 1.*--max-prompt-tokens 64"):
        found(start, tmp_path, chat("very " * 99))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"--eval-input .*empty\.jsonl: 1 prompts to train on and 0 held out"):
        found(start, tmp_path, chat("a"), eval_input=(str(tmp_path / "empty.jsonl"),))


def test_prompts_are_read_from_a_bucket(
    start: Path, tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    storage.write_text("s3://runs/chats/a.jsonl", json.dumps(chat("a", "b", "c")) + "\n")
    pq.write_table(pa.Table.from_pylist([{"conversation": TALK}]), tmp_path / "b.parquet")
    storage.upload(str(tmp_path / "b.parquet"), "s3://runs/chats/b.parquet")
    prompts = found(start, tmp_path, input=("s3://runs/chats",))
    assert sorted(len(item.prompt.messages) for item in [*prompts.training, *prompts.held_out]) == [3, 3]
