"""A judge behind the cache asks what it does not know, once, and says what it has asked before."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wildreward.errors import DataError
from wildreward.judge import cached as cached_module
from wildreward.judge.cache import JudgeCache
from wildreward.judge.cached import CachedJudge, depends_on
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.settings.label import LabelSettings

TURN = TurnText([], "Name a river.", "I'm sorry, I cannot help with that.", "That is wrong.", asker="row/0")
ELSEWHERE = replace(TURN, asker="other/3")


class Recorder:
    """A judge that gives a new distribution for each request, fails where the prompt says so, and counts."""

    def __init__(self, prompt_version: str = "1") -> None:
        self.name, self.prompt_version = "model", prompt_version
        self.asked: Counter[str] = Counter()

    async def feedback(self, turn: TurnText) -> Verdict:
        await asyncio.sleep(0)
        self.asked[turn.prompt] += 1
        if "fail" in turn.prompt:
            return Verdict(None, None, "?", self.name, self.prompt_version, 3, 30, 3, "unparsable", "no level")
        share = 1 / (3 + self.asked.total())
        probs = (share, 1 - share, 0.0, 0.0, 0.0)
        return Verdict(2, probs, "[[2]] wrong", self.name, self.prompt_version, 2, 20, 7, None, None)

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        self.asked["refusal"] += 1
        return RefusalVerdict(0, "[[0]]", 1, 11, 4, None, None)

    async def close(self) -> None: ...


def settings(**given: Any) -> LabelSettings:
    return LabelSettings.parse({"judge": "openai", "judge_url": "http://x/v1", "judge_model": "model"} | given)


def opened(directory: Path, inner: Recorder, run: str = "run", **given: Any) -> CachedJudge:
    return CachedJudge(inner, JudgeCache(str(directory)), settings(**given), run)


async def feedback(judge: CachedJudge, *turns: TurnText) -> list[Verdict]:
    verdicts = await asyncio.gather(*(judge.feedback(turn) for turn in turns))
    await judge.flush()
    return list(verdicts)


def test_another_process_gets_the_same_verdicts_without_asking(tmp_path: Path) -> None:
    async def judged(judge: Recorder) -> tuple[list[Verdict], RefusalVerdict]:
        cached = opened(tmp_path, judge)
        return await feedback(cached, TURN, replace(TURN, prompt="Name a sea.")), await cached.refusal(TURN)

    async def run() -> None:
        first, second = Recorder(), Recorder()
        verdicts, _ = await judged(first)
        cached = opened(tmp_path, first)
        await cached.refusal(TURN)
        await cached.close()
        assert await judged(second) == (verdicts, RefusalVerdict(0, "[[0]]", 1, 11, 4, None, None))
        assert (first.asked.total(), second.asked.total()) == (4, 0)

    asyncio.run(run())


def test_an_answer_is_cached_for_all_but_the_turn_of_the_run_that_paid_for_it(tmp_path: Path) -> None:
    async def run() -> None:
        [asked, repeated] = await feedback(opened(tmp_path, Recorder()), TURN, ELSEWHERE)
        assert repeated == replace(asked, cached=True)
        [again] = await feedback(opened(tmp_path, Recorder()), TURN)
        [elsewhere] = await feedback(opened(tmp_path, Recorder()), ELSEWHERE)
        [other_run] = await feedback(opened(tmp_path, Recorder(), run="another"), TURN)
        assert (again, elsewhere, other_run) == (asked, repeated, repeated)

    asyncio.run(run())


def test_equal_questions_at_the_same_time_are_asked_once(tmp_path: Path) -> None:
    judge = Recorder()
    verdicts = asyncio.run(feedback(opened(tmp_path, judge), *[TURN] * 20, *[ELSEWHERE] * 20))
    assert judge.asked.total() == 1
    assert Counter(verdict.cached for verdict in verdicts) == {False: 20, True: 20}


def test_a_failure_is_not_kept_and_every_turn_is_asked_for_itself(tmp_path: Path) -> None:
    failing = replace(TURN, prompt="fail")
    for asked in (2, 2):
        judge = Recorder()
        verdicts = asyncio.run(feedback(opened(tmp_path, judge), failing, replace(failing, asker="other/0")))
        assert [(verdict.error, verdict.cached) for verdict in verdicts] == [("unparsable", False)] * 2
        assert judge.asked.total() == asked


@pytest.mark.parametrize(
    "changed",
    [
        {"judge_model": "other"},
        {"judge_temperature": 0.5},
        {"judge_max_tokens": 100},
        {"judge_extra_body": {"top_p": 0.5}},
        {"judge_logprobs": True},
        {"judge_history_turns": 1},
        {"judge": "vllm"},
    ],
)
def test_what_the_answer_depends_on_asks_again(tmp_path: Path, changed: dict[str, Any]) -> None:
    turn = replace(TURN, history=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}])

    async def asked(judge: Recorder, given: dict[str, Any]) -> int:
        await feedback(opened(tmp_path, judge, **given), turn)
        return judge.asked.total()

    assert asyncio.run(asked(Recorder(), {})) == 1
    assert asyncio.run(asked(Recorder(), {})) == 0
    assert asyncio.run(asked(Recorder(), changed)) == 1


def test_another_prompt_version_or_another_text_asks_again(tmp_path: Path) -> None:
    async def run() -> None:
        await feedback(opened(tmp_path, Recorder()), TURN)
        for judge, turn in ((Recorder("2"), TURN), (Recorder(), replace(TURN, follow_up="That is wrong!"))):
            await feedback(opened(tmp_path, judge), turn)
            assert judge.asked.total() == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    "given",
    [
        {"judge_concurrency": 3},
        {"seed": 7},
        {"judge_max_retries": 1},
        {"judge_url": "http://y/v1"},
        {"class_map": "five"},
    ],
)
def test_where_and_how_fast_it_is_asked_does_not_matter(given: dict[str, Any]) -> None:
    changed = settings().model_copy(update=given)
    assert depends_on(changed) == depends_on(settings())


def test_engine_arguments_count_only_where_they_may_change_an_answer() -> None:
    def key(**engine: Any) -> dict[str, object]:
        return depends_on(LabelSettings(judge="vllm", judge_model="m", judge_engine=engine))

    assert key(tensor_parallel_size=4, max_model_len=100, gpu_memory_utilization=0.5) == key()
    assert key(quantization="fp8") != key()


def test_answers_are_written_in_the_background_before_anybody_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_module, "FLUSH_S", 0.0)

    async def run() -> None:
        judge = opened(tmp_path, Recorder())
        await judge.feedback(TURN)
        assert judge._flusher is not None
        await judge._flusher
        assert len(JudgeCache(str(tmp_path))) == 1
        await judge.feedback(replace(TURN, prompt="Name a sea."))
        await judge.flush()
        assert len(JudgeCache(str(tmp_path))) == 2

    asyncio.run(run())


def test_a_cache_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def run() -> None:
        judge = opened(tmp_path / "file", Recorder())
        with pytest.raises(DataError, match="cannot be written"):
            await feedback(judge, TURN)
        with pytest.raises(DataError, match="cannot be written"):
            await judge.feedback(replace(TURN, prompt="Name a sea."))

    asyncio.run(run())
