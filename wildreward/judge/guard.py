"""When a judge, and not one turn, is the trouble: the run stops with a message instead of ending in errors."""

from wildreward.errors import JudgeError

TURN_ERRORS = frozenset({"unparsable", "http_400", "http_413", "http_422"})
"""Failures that may well be about one turn, such as a context that is too long."""


class Guard:
    """Stops the run when the judge, not a turn, is the trouble: failures in a row, or nothing but failures so far."""

    def __init__(self, max_failures: int) -> None:
        self._max = max_failures
        self._in_a_row = 0
        self._ever_answered = False
        self._broken: str | None = None

    def answered(self) -> None:
        self._in_a_row, self._ever_answered = 0, True

    def failed(self, reason: str, detail: str) -> None:
        """Count a question that failed for good. Raises JudgeError at the limit.

        A failure that is about one turn counts only while no question at all has been answered: one long conversation
        may well hold many turns that do not fit the judge's context.
        """
        if reason in TURN_ERRORS and self._ever_answered:
            return
        self._in_a_row += 1
        if self._in_a_row >= self._max:
            raise self.break_off(
                f"{self._in_a_row} questions in a row failed for good, the last with {reason}: {detail}"
            )

    def break_off(self, message: str) -> JudgeError:
        self._broken = self._broken or f"the judge cannot be used: {message}"
        return JudgeError(self._broken)

    def check(self) -> None:
        """Raises the JudgeError that stopped the judge: questions still waiting are not sent any more."""
        if self._broken is not None:
            raise JudgeError(self._broken)
