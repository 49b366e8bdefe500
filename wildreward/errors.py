"""One picklable exception tree. The command line turns `UsageError` into exit code 2, the rest into exit code 1."""


class WildrewardError(Exception):
    """A failure whose message tells the user what was found, where, and what is allowed."""

    exit_code = 1


class UsageError(WildrewardError):
    """A wrong flag, setting or path: nothing was started."""

    exit_code = 2


class DataError(WildrewardError):
    """Input that cannot be used; the message names the file, and the row or field."""


class JudgeError(WildrewardError):
    """A judge that cannot be used at all (wrong key, unknown model, unreachable). A single failed answer is a row."""


class CheckpointError(WildrewardError):
    """A checkpoint directory that is not one of ours, is incomplete, or does not fit the request."""


class TrainingError(WildrewardError):
    """A loss, a gradient or a weight that is not a number. Nothing of it was saved."""
