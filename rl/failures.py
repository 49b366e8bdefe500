"""What a failure of a remote call says to the user."""

from ray.exceptions import RayError, RayTaskError

from wildreward.errors import WildrewardError


def translated(error: RayError) -> WildrewardError:
    """The failure as it was where it happened; the death of an actor, or of a node with what it held, as what it means
    for the run."""
    if isinstance(error, RayTaskError):
        cause = getattr(error, "cause", None)
        return cause if isinstance(cause, WildrewardError) else WildrewardError(f"an actor failed: {error}")
    return WildrewardError(f"an actor or its node died; the same command continues from the last checkpoint: {error}")
