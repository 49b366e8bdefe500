"""Which endpoint is asked: a clock that the test moves, no network."""

import pytest

from wildreward.judge.endpoints import FAILURES_IN_A_ROW, Endpoint, Endpoints
from wildreward.judge.failures import LimitedError, PassingError, RefusedError, RejectedError, Response, failure
from wildreward.judge.transport import proxy_for


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def endpoints(count: int, clock: Clock | None = None) -> tuple[Endpoints, list[Endpoint]]:
    made = [Endpoint(f"http://{n}/v1", "OPENAI_API_KEY", {}) for n in range(count)]
    return Endpoints(made, clock=clock or Clock()), made


def test_the_least_busy_is_asked_and_a_question_that_failed_goes_elsewhere() -> None:
    pool, (first, second) = endpoints(2)
    first.in_flight = 3
    assert pool.choose() is second
    assert pool.choose(avoid=second) is first
    first.out = "HTTP 401"
    assert pool.choose(avoid=second) is second


def test_failures_in_a_row_take_an_endpoint_down_and_an_answer_forgives_them() -> None:
    pool, (only,) = endpoints(1)
    assert not any(pool.failed(only, "HTTP 500") for _ in range(FAILURES_IN_A_ROW - 1))
    pool.answered(only)
    assert [pool.failed(only, "HTTP 500") for _ in range(FAILURES_IN_A_ROW + 2)].index(True) == FAILURES_IN_A_ROW - 1
    assert (pool.choose(), pool.pause_s()) == (None, None)
    pool.answered(only)
    assert pool.choose() is only


def test_a_paused_endpoint_is_asked_when_its_pause_is_over_and_a_shorter_pause_does_not_shorten_it() -> None:
    pool, (only,) = endpoints(1, clock := Clock())
    pool.pause(only, 5.0)
    pool.pause(only, 1.0)
    assert (pool.choose(), pool.pause_s()) == (None, 5.0)
    clock.now = 5.0
    assert (pool.choose(), pool.pause_s()) == (only, 0.0)


def test_doubt_takes_down_what_is_up_and_the_status_names_each_trouble() -> None:
    pool, (first, second, third) = endpoints(3)
    pool.reject(second, "HTTP 401: wrong key")
    pool.failed(first, "HTTP 503: busy")
    assert pool.doubt() == [first, third]
    assert pool.doubt() == []
    assert pool.usable()
    assert pool.status() == "http://0/v1: HTTP 503: busy; http://1/v1: HTTP 401: wrong key; http://2/v1: no answer"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, PassingError) for status in (408, 409, 500, 502, 503, 504, 529)),
        (429, LimitedError),
        *((status, RejectedError) for status in (301, 307, 401, 402, 403, 404, 405)),
        *((status, RefusedError) for status in (400, 413, 415, 422)),
    ],
)
def test_each_status_is_told_apart(status: int, kind: type[Exception]) -> None:
    assert type(failure(Response(status, {}, b'{"error": {"message": "why"}}'))) is kind


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"error": {"message": "no", "code": 1}}', "HTTP 400: no"),
        (b'{"object": "error", "message": "no"}', "HTTP 400: no"),
        (b'{"detail": [{"loc": ["body"]}]}', "HTTP 400: [{'loc': ['body']}]"),
        (b'{"error": "no"}', "HTTP 400: no"),
        (b"<html>", "HTTP 400: <html>"),
        (b"\xff\xfe", "HTTP 400: \ufffd\ufffd"),
    ],
)
def test_the_servers_words_are_found_in_any_shape(body: bytes, detail: str) -> None:
    assert failure(Response(400, {}, body)).detail == detail


def test_a_429_for_want_of_credit_is_no_rate_limit() -> None:
    for name in ("code", "type"):
        body = f'{{"error": {{"message": "pay", "{name}": "insufficient_quota"}}}}'.encode()
        assert isinstance(failure(Response(429, {}, body)), RejectedError)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "2"}, 2.0), ({"Retry-After": "9", "Retry-After-Ms": "250"}, 0.25), ({}, None)],
)
def test_a_pause_is_read_in_seconds_or_milliseconds(headers: dict[str, str], seconds: float | None) -> None:
    assert failure(Response(429, headers, b"")).retry_after_s == seconds


def test_a_parameter_is_only_to_blame_where_log_probabilities_are_new() -> None:
    said = Response(400, {}, b'{"error": {"message": "logprobs is not supported"}}')
    assert isinstance(failure(said, logprobs_are_new=True), RejectedError)
    assert isinstance(failure(said, logprobs_are_new=False), RefusedError)


def test_a_proxy_of_the_environment_is_used_for_others_and_never_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert proxy_for("https://api.example/v1") == "http://proxy:3128"
    for url in ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:1/v1", "https://inside.example/v1"):
        assert proxy_for(url) is None
