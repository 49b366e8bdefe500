"""Progress: plain lines in a log, a bar on a terminal."""

import io

import pytest

from wildreward import progress
from wildreward.progress import Progress


def test_a_log_gets_plain_lines_with_the_latest_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)
    log = io.StringIO()
    with Progress("training", total=2, stream=log) as shown:
        shown.advance(loss=0.5)
        shown.advance(loss=0.25)
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("training: started 0/2")
    assert "running 1/2" in lines[1]
    assert lines[-1].startswith("training: done 2/2")
    assert lines[-1].endswith("loss=0.25")


def test_a_failure_is_not_reported_as_done() -> None:
    log = io.StringIO()
    with pytest.raises(KeyError), Progress("training", stream=log):
        raise KeyError("x")
    assert "stopped 0" in log.getvalue()


def test_a_terminal_gets_a_bar_and_no_plain_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    with Progress("training", total=2, stream=screen) as shown:
        shown.advance(2)
    assert "running" not in screen.getvalue()
    assert "2/2" in screen.getvalue()
