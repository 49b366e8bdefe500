"""What a failure of a remote call says to the user."""

from ray.exceptions import RayActorError, RayTaskError

from wildreward.errors import WildrewardError


def translated(error: RayTaskError | RayActorError) -> WildrewardError:
    """The failure as it was where it happened; an actor's death as what it means for the run."""
    if isinstance(error, RayTaskError):
        cause = getattr(error, "cause", None)
        return cause if isinstance(cause, WildrewardError) else WildrewardError(f"an actor failed: {error}")
    return WildrewardError(f"an actor died; the same command continues from the last checkpoint: {error}")
