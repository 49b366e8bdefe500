"""The HTTP judge against a real server on loopback, with faults."""

import asyncio
import json

import pytest

from tests.judge_server import Behaviour, judge_server
from tests.wildreward.judge.asking import ask, settings, turns
from wildreward.errors import JudgeError
from wildreward.judge.choose import make_judge
from wildreward.judge.completions import MalformedError, read_completion
from wildreward.judge.endpoints import Endpoints
from wildreward.judge.prompts import feedback_messages
from wildreward.judge.replies import distribution
from wildreward.judge.request_body import RequestBodies
from wildreward.judge.types import RefusalVerdict, TurnText


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_answers_levels_tokens_and_attempts_come_through_within_the_bound_on_requests_in_flight() -> None:
    with judge_server(Behaviour(latency_s=0.01)) as server:
        verdicts = ask(settings(server.url, judge_concurrency=8), turns(50))
    assert [verdict.level for verdict in verdicts[:5]] == [1, 2, 3, 4, 5]
    assert {(verdict.judge, verdict.attempts, verdict.error) for verdict in verdicts} == {("model", 1, None)}
    assert all(verdict.prompt_tokens and verdict.completion_tokens for verdict in verdicts)
    assert server.stats.most_in_flight == 8


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
    assert "Incorrect API key provided: Bearer ***" in str(failure.value)
    assert "the key in OPENAI_API_KEY" in str(failure.value)


def test_each_endpoint_has_its_own_key_or_none_and_a_key_with_a_line_break_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-common")
    monkeypatch.setenv("OPENAI_API_KEY_2", "sk-second")
    monkeypatch.setenv("OPENAI_API_KEY_3", "")
    first, second, third = Endpoints.from_environment(("http://a/v1", "http://b/v1/", "http://c/v1")).all
    assert (first.headers["Authorization"], second.headers["Authorization"]) == ("Bearer sk-common", "Bearer sk-second")
    assert "Authorization" not in third.headers
    assert (first.address, second.address) == ("http://a/v1/chat/completions", "http://b/v1/chat/completions")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\nX: y")
    with pytest.raises(JudgeError, match="OPENAI_API_KEY holds characters") as failure:
        Endpoints.from_environment(("http://a/v1",))
    assert "sk-secret" not in str(failure.value)


def test_a_judge_that_repeats_the_key_does_not_get_it_into_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the weather")
    with judge_server(Behaviour(garbage_frac=1.0)) as server:
        (verdict,) = ask(settings(server.url, judge_max_reasks=0), turns(1))
    assert verdict.raw == "I would rather talk about ***."


@pytest.mark.parametrize("tokens", ["[[|3|]]", "[[3|]]", "[[|3]]", "[[3]]", "[|[3|]|]"])
def test_log_probabilities_become_a_distribution_over_the_levels_however_the_answer_is_cut(tokens: str) -> None:
    with judge_server(Behaviour(logprobs=True, tokens=tokens)) as server:
        (with_them,) = ask(settings(server.url, judge_logprobs=True), turns(1))
        (without,) = ask(settings(server.url), turns(1))
    assert with_them.level_probs == pytest.approx((0.9, 0.1, 0, 0, 0), abs=1e-3)
    assert without.level_probs is None


def test_an_endpoint_that_refuses_log_probabilities_says_so_at_once_and_one_that_gives_none_still_labels() -> None:
    with judge_server(Behaviour(refuse_logprobs=True)) as server:
        with pytest.raises(JudgeError, match=r"logprobs are not supported .*\(run without --judge-logprobs\)"):
            ask(settings(server.url, judge_logprobs=True), turns(5))
        assert ask(settings(server.url), turns(1))[0].level == 1
    with judge_server(Behaviour(logprobs=False)) as server:
        (silent,) = ask(settings(server.url, judge_logprobs=True), turns(1))
    assert (silent.level, silent.level_probs) == (1, None)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"content": None},
        {"tokens": ["[[", "3"], "top_logprobs": [{}, {}]},
        {"content": [{"token": "[["}, {"token": "3", "logprob": -0.1}]},
        {"content": [{"token": "[[", "top_logprobs": 7}]},
    ],
)
def test_log_probabilities_of_another_shape_are_none_and_cost_no_label(logprobs: object) -> None:
    choice = {"message": {"content": "[[3]]"}, "logprobs": logprobs}
    completion = read_completion({"choices": [choice]})
    assert completion.text == "[[3]]"
    assert distribution(completion.tokens, 3, (1, 2, 3, 4, 5)) is None


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


def test_the_request_carries_the_question_unchanged_the_extra_fields_and_no_second_token_limit() -> None:
    given = settings("http://127.0.0.1:1/v1", judge_extra_body={"max_completion_tokens": 9, "seed": 1})
    question = feedback_messages(TurnText([], 'a "quote"\n', "\ud800 and 字", "{}"))
    assert json.loads(RequestBodies(given).make(question, 0.0)) == {
        "model": "model", "messages": question, "temperature": 0.0, "max_completion_tokens": 9, "seed": 1,
    }  # fmt: skip
