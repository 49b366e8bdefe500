"""Faults, endpoints that go and come back, and a judge that is down: real servers on loopback, short times."""

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from tests.judge_server import Behaviour, Server, judge_server
from tests.wildreward.judge.asking import ask, ask_counted, requests, settings, turns
from wildreward.errors import JudgeError
from wildreward.judge.endpoints import Endpoint, Endpoints
from wildreward.judge.lexicon import read_feedback
from wildreward.judge.openai_client import OpenAIJudge
from wildreward.judge.outages import Outages
from wildreward.judge.sender import Sender
from wildreward.judge.shared import Alone
from wildreward.judge.types import TurnText
from wildreward.settings.label import LabelSettings

DOWN = Behaviour(status=503)
POISON = TurnText([], "the poisoned question", "Sydney.", "Thank you!")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


class Told(Alone):
    """Keeps what is said. The first time that it waits, it does what it was given to do."""

    def __init__(self, given: LabelSettings, when_waiting: Any = None) -> None:
        super().__init__(given)
        self.warnings: Counter[str] = Counter()
        self.waits: list[str | None] = []
        self._when_waiting = when_waiting

    def warn(self, message: str) -> None:
        self.warnings[message] += 1

    def waiting(self, message: str | None) -> None:
        self.waits.append(message)
        if message is not None and self._when_waiting is not None:
            self._when_waiting()


@pytest.fixture(autouse=True)
def _shows_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wildreward.judge.outages.FIRST_SHOWN_S", 0.05)
    monkeypatch.setattr("wildreward.judge.outages.SHOWN_EVERY_S", 0.05)


def test_under_all_faults_every_turn_has_its_right_level_and_every_request_is_in_the_attempts() -> None:
    faults = Behaviour(
        error_frac=0.1, limit_frac=0.05, garbage_frac=0.05, broken_frac=0.02, stall_frac=0.01, stall_s=30.0,
        retry_after_s=0.01,
    )  # fmt: skip
    asked = turns(600)
    with judge_server(faults) as server:
        verdicts, stats = ask_counted(settings(server.url, judge_timeout_s=1.5, judge_concurrency=64), asked)
    assert [verdict.level for verdict in verdicts] == [read_feedback(turn).level for turn in asked]
    assert sum(verdict.attempts for verdict in verdicts) == requests(server) == stats["requests"] > 700
    assert "samples" not in stats
    outcomes = server.stats.outcomes
    assert stats["retries_http_500"] == outcomes["error"] > 30
    assert stats["retries_http_429"] == outcomes["limit"] > 15
    assert stats["retries_malformed_response"] == outcomes["broken"] > 3
    assert stats["retries_timeout"] == outcomes["stall"] > 1
    assert stats["reasks"] == outcomes["garbage"] > 15
    assert stats["answers"] == outcomes["answered"] + outcomes["garbage"] == 600 + outcomes["garbage"]
    assert server.stats.as_dict()["answered_again"] == 0


def test_a_turn_that_always_fails_is_an_error_while_others_are_answered() -> None:
    with judge_server(Behaviour(poison=POISON.prompt)) as server:
        *rest, poisoned = ask(settings(server.url, judge_max_retries=2), [*turns(20), POISON])
    assert [verdict.level for verdict in rest] == [1, 2, 3, 4, 5] * 4
    assert (poisoned.level, poisoned.error) == (None, "http_500")
    assert "fell over this one" in (poisoned.error_detail or "")


def test_a_turn_that_always_fails_is_an_error_even_alone_because_a_sample_is_answered() -> None:
    with judge_server(Behaviour(poison=POISON.prompt)) as server:
        (poisoned,), stats = ask_counted(settings(server.url, judge_max_retries=2), [POISON])
    assert (poisoned.level, poisoned.error, poisoned.attempts) == (None, "http_500", 6)
    assert (stats["samples"], requests(server)) == (1, 7)


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_judge_that_goes_down_is_waited_for_and_no_turn_becomes_an_error(concurrency: int) -> None:
    with judge_server(DOWN) as server:
        given = settings(server.url, judge_concurrency=concurrency, judge_max_retries=2)
        told = Told(given, when_waiting=lambda: server.behave(Behaviour()))
        verdicts, stats = ask_counted(given, turns(20), told)
    assert [verdict.level for verdict in verdicts] == [1, 2, 3, 4, 5] * 4
    assert sum(verdict.attempts for verdict in verdicts) + stats["samples"] == requests(server)
    assert stats["outage_s"] > 0.05
    assert "HTTP 503: always 503" in (told.waits[0] or "")
    assert server.url in (told.waits[0] or "")
    assert told.waits[-1] is None


def test_a_judge_that_stays_down_stops_the_run_with_its_trouble_and_no_turn_is_an_error() -> None:
    with judge_server() as gone:
        url = gone.url
    told = Told(given := settings(url, judge_max_outage_s=0.4))
    with pytest.raises(JudgeError, match=rf"nothing was answered for 0 s: {url}: cannot connect: .*no key") as stopped:
        ask(given, turns(40), told)
    assert "judge_model model" in str(stopped.value)
    assert told.waits[0] is not None


def test_rate_limits_are_waited_out_however_often_and_stop_the_run_only_when_nothing_else_comes() -> None:
    with judge_server(Behaviour(limit_frac=0.9, retry_after_s=0.01)) as server:
        verdicts = ask(settings(server.url, judge_max_retries=0), turns(10))
        assert [verdict.level for verdict in verdicts] == [1, 2, 3, 4, 5] * 2
        assert requests(server) == sum(verdict.attempts for verdict in verdicts) > 50
        server.behave(Behaviour(limit_frac=1.0, retry_after_s=0.01))
        with pytest.raises(JudgeError, match=r"nothing but rate limits .* HTTP 429: slow down"):
            ask(settings(server.url, judge_max_outage_s=0.2), turns(10))


def test_healthy_endpoints_share_the_load_and_stand_in_for_one_that_fails() -> None:
    with judge_server(Behaviour(latency_s=0.002)) as one, judge_server(Behaviour(latency_s=0.002)) as two:
        verdicts = ask(settings(one.url, two.url), turns(200))
        assert requests(one) + requests(two) == 200
        assert min(requests(one), requests(two)) > 60
        two.behave(DOWN)
        before = requests(two)
        verdicts, stats = ask_counted(settings(one.url, two.url), turns(300))
        assert [verdict.level for verdict in verdicts] == [1, 2, 3, 4, 5] * 60
        assert requests(two) - before < 40  # left alone, but for samples
        assert stats["samples"] >= 1
        assert "outage_s" not in stats


def test_an_endpoint_that_recovers_is_used_again() -> None:
    async def until_both_answer(one: Server, two: Server) -> None:
        judge = OpenAIJudge(settings(one.url, two.url))
        await asyncio.gather(*map(judge.feedback, turns(100)))
        assert (two.stats.outcomes["answered"], judge.stats["samples"] > 0) == (0, True)
        two.behave(Behaviour())
        while two.stats.outcomes["answered"] < 2:  # one may be the sample
            await asyncio.gather(*map(judge.feedback, turns(10)))
        await judge.close()

    with judge_server() as one, judge_server(DOWN) as two:
        asyncio.run(until_both_answer(one, two))


@pytest.mark.parametrize(
    ("behaviour", "message"), [(Behaviour(model="another"), "HTTP 404"), (Behaviour(api_key="right"), "HTTP 401")]
)
def test_an_endpoint_that_knows_no_such_model_or_key_is_out_with_a_warning(behaviour: Behaviour, message: str) -> None:
    with judge_server(behaviour) as wrong, judge_server() as right:
        told = Told(given := settings(wrong.url, right.url))
        verdicts, stats = ask_counted(given, turns(100), told)
    assert [verdict.level for verdict in verdicts] == [1, 2, 3, 4, 5] * 20
    assert requests(wrong) <= given.judge_concurrency
    [(warning, count)] = told.warnings.items()
    assert warning.startswith(f"{wrong.url} is out for the rest of the run: {message}")
    assert (count, stats["endpoints_out"]) == (1, 1)


def test_an_endpoint_that_is_out_ends_no_outage_with_a_late_answer() -> None:
    async def late_answer() -> None:
        pool = Endpoints([Endpoint("http://a/v1", "", {}), Endpoint("http://b/v1", "", {})])
        given = settings("http://a/v1", "http://b/v1", judge_max_outage_s=0.2)
        outages = Outages(given, pool, Sender(given, pool, told := Told(given)), told, b"{}")
        pool.reject(pool.all[0], "HTTP 401")
        pool.all[1].down = True
        waiting = asyncio.create_task(outages.ready(None))
        await asyncio.sleep(0)
        pool.answered(pool.all[0])
        outages.answered()
        with pytest.raises(JudgeError, match=r"nothing was answered .* HTTP 401"):
            await waiting

    asyncio.run(late_answer())


def test_a_redirect_is_not_followed_because_the_key_is_for_the_endpoint_that_was_named() -> None:
    with judge_server(Behaviour(status=307)) as server, pytest.raises(JudgeError, match="HTTP 307"):
        ask(settings(server.url), turns(3))


def test_a_run_alone_logs_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    with judge_server(DOWN) as server, caplog.at_level(logging.WARNING), pytest.raises(JudgeError):
        ask(settings(server.url, judge_max_outage_s=0.2), turns(2))
    assert "the judge does not answer, waiting" in caplog.text
