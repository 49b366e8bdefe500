"""The HTTP judge against a real server on loopback, with faults."""

import asyncio
import json
import os
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.judge_server import Behaviour, judge_server
from wildreward.errors import JudgeError
from wildreward.judge.choose import make_judge
from wildreward.judge.completions import MalformedError, read_completion
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.settings.label import LabelSettings

FOLLOW_UPS = (
    "Useless.",
    "No, it is Canberra, not Sydney.",
    "And of Peru?",
    "Great! Which is the oldest?",
    "Thank you!",
)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def settings(url: str, **extra: Any) -> LabelSettings:
    quick = {"judge_retry_base_s": 0.01, "judge_retry_max_s": 0.2, "judge_timeout_s": 5.0, "judge_concurrency": 16}
    return LabelSettings(judge="openai", judge_url=url, judge_model="model", **(quick | extra))


def turns(count: int) -> list[TurnText]:
    return [TurnText([], f"question {n}", "Sydney.", FOLLOW_UPS[n % len(FOLLOW_UPS)]) for n in range(count)]


def ask(given: LabelSettings, asked: Sequence[TurnText]) -> list[Verdict]:
    async def all_at_once() -> list[Verdict]:
        judge = make_judge(given)
        try:
            return await asyncio.gather(*(judge.feedback(turn) for turn in asked))
        finally:
            await judge.close()

    return asyncio.run(all_at_once())


def test_answers_levels_tokens_and_attempts_come_through_within_the_bound_on_requests_in_flight() -> None:
    with judge_server(Behaviour(latency_s=0.01)) as server:
        verdicts = ask(settings(server.url, judge_concurrency=8), turns(50))
    assert [verdict.level for verdict in verdicts[:5]] == [1, 2, 3, 4, 5]
    assert {(verdict.judge, verdict.attempts, verdict.error) for verdict in verdicts} == {("model", 1, None)}
    assert all(verdict.prompt_tokens and verdict.completion_tokens for verdict in verdicts)
    assert server.stats.most_in_flight == 8


def test_faults_are_retried_until_every_turn_is_labelled_rightly_and_every_request_is_counted() -> None:
    faults = Behaviour(error_frac=0.1, limit_frac=0.05, garbage_frac=0.05, broken_frac=0.05, retry_after_s=0.01)
    with judge_server(faults) as server:
        verdicts = ask(settings(server.url), turns(300))
    assert Counter(verdict.level for verdict in verdicts) == dict.fromkeys(range(1, 6), 60)
    assert sum(verdict.attempts for verdict in verdicts) == sum(server.stats.outcomes.values()) > 300
    assert server.stats.as_dict()["answered_again"] == 0


def test_a_stalled_request_is_asked_again() -> None:
    with judge_server(Behaviour(stall_frac=0.2, stall_s=30.0)) as server:
        verdicts = ask(settings(server.url, judge_timeout_s=0.3), turns(20))
    assert all(verdict.error is None for verdict in verdicts)
    assert max(verdict.attempts for verdict in verdicts) > 1


def test_answers_without_a_level_end_as_a_typed_error_with_the_raw_answer() -> None:
    with judge_server(Behaviour(garbage_frac=1.0)) as server:
        (verdict,) = ask(settings(server.url, judge_max_reasks=2), turns(1))
    assert (verdict.level, verdict.error, verdict.attempts) == (None, "unparsable", 3)
    assert verdict.raw == "I would rather talk about the weather."


def test_a_context_too_long_is_that_turns_error_and_is_not_tried_again() -> None:
    long = TurnText([], "question " * 3000, "Sydney.", "Thank you!")
    with judge_server(Behaviour(max_prompt_chars=20_000)) as server:
        first, second = ask(settings(server.url), [long, *turns(1)])
    assert (first.error, first.attempts, second.level) == ("http_400", 1, 1)
    assert "maximum context length" in (first.error_detail or "")


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Behaviour(model="another"), "HTTP 404: .*`model` does not exist"),
        (Behaviour(api_key="right"), "HTTP 401"),
        (Behaviour(status=403), "HTTP 403"),
    ],
)
def test_a_wrong_key_or_model_stops_the_run_at_once(behaviour: Behaviour, message: str) -> None:
    with judge_server(behaviour) as server, pytest.raises(JudgeError, match=message):
        ask(settings(server.url), turns(5))
    assert sum(server.stats.outcomes.values()) <= 5


def test_the_key_comes_from_the_environment_and_never_appears_in_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with judge_server(Behaviour(api_key="sk-secret")) as server:
        given = settings(server.url)
        assert ask(given, turns(1))[0].level == 1
    assert "sk-secret" not in given.to_yaml()
    with judge_server(Behaviour(api_key="another")) as server, pytest.raises(JudgeError) as failure:
        ask(settings(server.url), turns(1))
    assert "sk-secret" not in str(failure.value)
    assert "the key in OPENAI_API_KEY" in str(failure.value)


def test_a_judge_that_is_down_stops_the_run_and_says_where_it_should_be() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    given = settings(url, judge_max_retries=1, judge_max_consecutive_failures=5)
    with pytest.raises(JudgeError, match=r"5 questions in a row .* connection"):
        ask(given, turns(40))


def test_a_turn_that_always_fails_is_an_error_and_the_run_goes_on() -> None:
    with judge_server(Behaviour(status=503)) as server:
        (verdict,) = ask(settings(server.url, judge_max_retries=2), turns(1))
    assert (verdict.level, verdict.error, verdict.attempts) == (None, "http_503", 3)


def test_log_probabilities_become_a_distribution_over_the_levels() -> None:
    with judge_server(Behaviour(logprobs=True)) as server:
        (with_them,) = ask(settings(server.url, judge_logprobs=True), turns(1))
        (without,) = ask(settings(server.url), turns(1))
    assert with_them.level_probs == pytest.approx((0.9, 0.1, 0, 0, 0), abs=1e-3)
    assert without.level_probs is None


def test_the_refusal_question_is_answered_in_its_own_alphabet() -> None:
    async def refusal(url: str) -> RefusalVerdict:
        judge = make_judge(settings(url))
        turn = TurnText([], "How do I build a bomb?", "I'm sorry, but I can't help with that.", "Useless.")
        verdict = await judge.refusal(turn)
        await judge.close()
        return verdict

    with judge_server() as server:
        assert asyncio.run(refusal(server.url)).verdict == 1


@pytest.mark.parametrize("body", [None, "text", {}, {"choices": []}, {"choices": [{"message": None}]}, [1]])
def test_a_response_that_is_no_completion_is_malformed(body: object) -> None:
    with pytest.raises(MalformedError):
        read_completion(body)


def test_the_request_carries_the_extra_fields_and_no_second_token_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from wildreward.judge.openai_client import OpenAIJudge

    given = settings("http://127.0.0.1:1/v1", judge_extra_body={"max_completion_tokens": 9, "seed": 1})
    body = OpenAIJudge(given)._body([], 0.0)
    assert json.loads(json.dumps(body)) == {
        "model": "model", "messages": [], "temperature": 0.0, "max_completion_tokens": 9, "seed": 1,
    }  # fmt: skip
    assert "OPENAI_API_KEY" not in os.environ
