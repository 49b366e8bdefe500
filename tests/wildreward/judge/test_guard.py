"""When failures stop the run."""

import pytest

from wildreward.errors import JudgeError
from wildreward.judge.guard import Guard


def test_failures_in_a_row_stop_the_run_and_an_answer_forgives_them() -> None:
    guard = Guard(3)
    for _ in range(2):
        guard.failed("timeout", "slow")
    guard.answered()
    for _ in range(2):
        guard.failed("timeout", "slow")
    with pytest.raises(JudgeError, match=r"3 questions in a row .* timeout: slow"):
        guard.failed("timeout", "slow")
    with pytest.raises(JudgeError):
        guard.check()


def test_turns_that_do_not_fit_stop_nothing_once_the_judge_has_answered() -> None:
    guard = Guard(2)
    guard.answered()
    for _ in range(50):
        guard.failed("http_400", "context too long")
        guard.failed("unparsable", "no value")
    guard.check()


def test_a_judge_that_refuses_everything_from_the_start_stops_the_run() -> None:
    guard = Guard(2)
    guard.failed("http_400", "unknown parameter")
    with pytest.raises(JudgeError, match="unknown parameter"):
        guard.failed("http_400", "unknown parameter")
