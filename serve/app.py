"""The deployment: HTTP ingress, batching by tokens and the model in one Ray Serve replica, as many as the load needs.

    serve run serve.app:build checkpoint=/shared/runs/train/checkpoint
    serve deploy deploy.yaml                                  # a copy of serve/deploy.yaml

Actors of the same cluster need no HTTP: `HandleClient.of("wildreward")` in serve/client.py calls the same methods.
"""

import asyncio
import hashlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

from ray import serve as ray_serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from serve.canary import check_scoring, load_model, meaning_of
from serve.metrics import metrics
from serve.schema import CompareRequest, RequestError, RewardRequest, ScoreRequest, Wire, parse
from serve.scoring import Admission, Scoring
from serve.tokens import environment_digests
from wildreward.chat_template import read_chat_template
from wildreward.checkpoint import fingerprint
from wildreward.fetched import is_url
from wildreward.settings.serve import ServeSettings

DEPLOYMENT = "scorer"
STATUS_SLOTS = 64
"""Requests a replica takes beyond max_ongoing_requests: those are refused, or are health checks, and take no time."""


COMMAND_FIELDS = {
    "address", "allow_incompatible", "detach", "host", "log_format", "output", "overwrite", "port", "seed",
    "start_timeout_s",
}  # fmt: skip
"""Settings of the command; a replica is the same whatever they are."""


class Scorer:
    """One replica. Its public coroutines are the routes for callers in the cluster: plain dicts in and out."""

    async def __init__(self, settings: dict[str, Any], digests: list[str]) -> None:  # type: ignore[misc]  # Serve awaits it
        """Raises CheckpointError for a model that gives no score: its replica never becomes ready."""
        self.settings = ServeSettings.parse(settings)
        self._digests = digests
        self._admission = Admission(self.settings.max_ongoing_requests, self.settings.retry_after_s)
        model = load_model(self.settings)
        self._meaning = meaning_of(model)
        self._scoring = Scoring(model, self.settings)
        await check_scoring(self._scoring)

    def __serve_build_asgi_app__(self) -> Any:
        from serve.routes import http_app

        return http_app(self._scoring, self.settings, self._digests, self._admission)

    def check_health(self) -> None:
        """Serve replaces a replica that raises here."""
        self._scoring.engine.check_health()

    async def get_reward(self, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._handle("/get_reward", self._scoring.get_reward, RewardRequest, payload)

    async def score(self, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._handle("/v1/score", self._scoring.score, ScoreRequest, payload)

    async def compare(self, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._handle("/v1/compare", self._scoring.compare, CompareRequest, payload)

    async def model(self) -> dict[str, Any]:
        return self._scoring.info.model_dump(mode="json")

    async def deployed(self) -> dict[str, Any]:
        """What this replica runs, so that an update can be compared with it, and undone."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "digests": self._digests,
            "id": self._scoring.info.id,
            "meaning": self._meaning,
        }

    async def _handle(self, route: str, method: Any, request: type[Wire], payload: Any) -> dict[str, Any]:
        """Admission, deadline and counting as over HTTP. Raises RequestError."""
        arrived, status = time.monotonic(), 200
        try:
            with self._admission.slot():
                return await self._within_deadline(method, parse(request, payload))
        except RequestError as refusal:
            status = refusal.status
            metrics().refusal(refusal.code)
            raise
        finally:
            metrics().request(route, status, time.monotonic() - arrived, "handle")

    async def _within_deadline(self, method: Any, request: Wire) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                answer: Wire = await method(request)
        except TimeoutError:
            message = f"no answer within {self.settings.request_timeout_s:g} s"
            raise RequestError(504, "deadline_exceeded", message) from None
        return answer.model_dump(mode="json")


def application(settings: ServeSettings, digests: list[str]) -> Any:
    """The Serve application of these settings.

    Deployed twice it changes nothing; with another model or other settings its replicas are replaced one by one.
    """
    deployment: Any = ray_serve.deployment(
        ray_serve.ingress()(Scorer),
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": settings.cpus_per_replica, "num_gpus": settings.gpus_per_replica},
        max_ongoing_requests=settings.max_ongoing_requests + STATUS_SLOTS,
        max_queued_requests=settings.max_queued_requests,
        max_surge_percent=settings.update_surge_percent,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=settings.retry_after_s),
        autoscaling_config=_autoscaling(settings),
        logging_config={"enable_access_log": settings.access_log},
    )
    # Without a version of ours each deploy would replace every replica, also by what already runs.
    versioned = deployment.options(version=version_of(settings, digests), _internal=True)
    return versioned.bind(settings.model_dump(mode="json"), digests)


def _autoscaling(settings: ServeSettings) -> AutoscalingConfig:
    with warnings.catch_warnings():
        # The interval's successor is an environment variable of processes that a deployment does not start.
        warnings.simplefilter("ignore", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=settings.min_replicas,
            max_replicas=settings.max_replicas,
            target_ongoing_requests=settings.target_ongoing_requests,
            upscale_delay_s=settings.upscale_delay_s,
            downscale_delay_s=settings.downscale_delay_s,
            look_back_period_s=settings.load_window_s,
            metrics_interval_s=min(10.0, settings.load_window_s / 4),
        )


def version_of(settings: ServeSettings, digests: list[str]) -> str:
    """Hash over everything a replica is made from: settings, tokens, the checkpoint's and the templates' bytes."""
    known = is_url(settings.checkpoint) or Path(settings.checkpoint).is_dir()
    chat_source = read_chat_template(settings.chat_template)
    files = fingerprint(settings.checkpoint, settings.template, chat_source) if known else ""
    values = settings.model_dump(mode="json", exclude=COMMAND_FIELDS)
    text = json.dumps([values, digests, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def build(args: dict[str, Any]) -> Any:
    """For `serve run` and `serve deploy`: any field of ServeSettings, `checkpoint=DIR` at least.

    Host and port belong to the Serve instance there, not to the application. A checkpoint that does not score is
    refused here, before a replica of what runs is touched. Raises WildrewardError.
    """
    import ray

    from serve.address import running_address, warn_if_open
    from serve.canary import check_files, score_once

    settings = ServeSettings.parse(args, "serve.app:build")
    check_files(settings)
    if ray.is_initialized():  # `serve run` builds before it connects; its replicas still check their own model
        if ray_serve.status().proxies:
            warn_if_open(running_address()[0], settings)
        score_once(settings)
    return application(settings, environment_digests(settings))
