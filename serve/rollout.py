"""Deploying on a connected cluster: the first time, as an update of what runs, or back again.

An update replaces replicas one by one; each loads the new checkpoint and scores a fixed text before an old one ends,
and an old one finishes what it holds. What cannot serve is refused with its reason before anything is touched; what
fails all the same is undone, and the old checkpoint goes on serving.
"""

import time
from dataclasses import dataclass
from typing import Any

from serve.app import application
from serve.canary import score_once
from wildreward.errors import CheckpointError, UsageError, WildrewardError
from wildreward.settings.serve import ServeSettings

POLL_S = 0.2


@dataclass(frozen=True)
class Deployed:
    """What a running application was made from."""

    settings: ServeSettings
    digests: list[str]
    id: str
    meaning: dict[str, Any]


def roll_out(settings: ServeSettings, digests: list[str]) -> Deployed | None:
    """Deploy and wait until it is ready; returns what served before. Raises WildrewardError, that still serving."""
    before = running(settings)
    if before is not None:
        _check_tokens(before, settings, digests)
    if before is not None or not settings.min_replicas:  # without a replica nobody else would try the checkpoint
        meaning = score_once(settings)
        if before is not None and not settings.allow_incompatible:
            check_compatible(before, settings, meaning)
    deploy(settings, digests)
    try:
        wait_ready(settings)
    except WildrewardError as error:
        _undo(settings, before)
        if before is None:
            raise
        raise type(error)(f"{error}\n{before.id} serves as before") from None
    return before


def running(settings: ServeSettings) -> Deployed | None:
    """The application of this name, or None where there is none, or a failed one: that is replaced.

    Raises WildrewardError for one that runs and does not say what it is: it could not be brought back.
    """
    from ray import serve as ray_serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    app = ray_serve.status().applications.get(settings.app_name)
    if app is None:
        return None
    try:
        handle = ray_serve.get_app_handle(settings.app_name)
        found = handle.deployed.remote().result(timeout_s=settings.start_timeout_s)
    except (RayServeException, RayError, TimeoutError) as error:
        if app.status != "RUNNING":
            return None
        raise WildrewardError(
            f"--app-name {settings.app_name}: the running application does not answer, and is left as it is: {error}"
        ) from None
    return Deployed(ServeSettings.parse(found["settings"]), found["digests"], found["id"], found["meaning"])


def check_compatible(before: Deployed, settings: ServeSettings, meaning: dict[str, Any]) -> None:
    """Raises CheckpointError where callers of the old model would read the new one's scores wrongly."""
    for name, value in meaning.items():
        if value != before.meaning[name]:
            raise CheckpointError(
                f"--checkpoint {settings.checkpoint}: {name} is {value}, and {before.meaning[name]} of {before.id}, "
                "which goes on serving; --allow-incompatible replaces it all the same"
            )


def _check_tokens(before: Deployed, settings: ServeSettings, digests: list[str]) -> None:
    """Raises UsageError for an update that would open a scorer that asks for tokens."""
    asked = bool(before.digests or before.settings.token_file)
    if asked and not (digests or settings.token_file) and not settings.allow_incompatible:
        raise UsageError(
            f"--token-env {settings.token_env}: found no token, and the running {settings.app_name} asks for one; "
            "give the tokens again, or --allow-incompatible to open it"
        )


def deploy(settings: ServeSettings, digests: list[str]) -> None:
    from ray import serve as ray_serve

    ray_serve._run(
        application(settings, digests), _blocking=False, name=settings.app_name, route_prefix=settings.route_prefix
    )


def _undo(settings: ServeSettings, before: Deployed | None) -> None:
    from ray import serve as ray_serve

    if before is None:
        ray_serve.delete(settings.app_name)
    else:
        deploy(before.settings, before.digests)
        wait_ready(before.settings)


def wait_ready(settings: ServeSettings) -> None:
    """Until the application runs. Raises WildrewardError with the replica's own message where it cannot start."""
    from ray import serve as ray_serve

    deadline = time.monotonic() + settings.start_timeout_s
    while time.monotonic() < deadline:
        app = ray_serve.status().applications.get(settings.app_name)
        if app is not None and app.status == "RUNNING":
            return
        messages = [] if app is None else [app.message, *(d.message for d in app.deployments.values())]
        if app is not None and (app.status == "DEPLOY_FAILED" or any("Error" in message for message in messages)):
            raise CheckpointError(f"--checkpoint {settings.checkpoint}: no replica could start: {' '.join(messages)}")
        time.sleep(POLL_S)
    raise WildrewardError(
        f"--start-timeout-s {settings.start_timeout_s:g}: no replica was ready in time; each needs "
        f"{settings.cpus_per_replica:g} CPUs and {settings.gpus_per_replica:g} GPUs beside the old ones "
        "(an update with --update-surge-percent 0 needs no room for both)"
    )
