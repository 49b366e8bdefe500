"""The deployment: HTTP ingress, batching by tokens and the model in one Ray Serve replica, as many as the load needs.

    serve run serve.app:build checkpoint=runs/train/checkpoint

Actors of the same cluster need no HTTP: `HandleClient.of("wildreward")` in serve/client.py calls the same methods.
"""

import asyncio
from typing import Any

from ray import serve as ray_serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from serve.guard import token_digests
from serve.schema import CompareRequest, RequestError, RewardRequest, ScoreRequest, Wire, parse
from serve.scoring import Admission, Scoring
from wildreward.settings.serve import ServeSettings

DEPLOYMENT = "scorer"
STATUS_SLOTS = 64
"""Requests a replica takes beyond max_ongoing_requests: those are refused, or are health checks, and take no time."""


class Scorer:
    """One replica. Its public coroutines are the routes for callers in the cluster: plain dicts in and out."""

    def __init__(self, settings: dict[str, Any], digests: list[str]) -> None:
        self.settings = ServeSettings.parse(settings)
        self._digests = digests
        self._admission = Admission(self.settings.max_ongoing_requests, self.settings.retry_after_s)
        self._scoring = Scoring(load_model(self.settings), self.settings)

    def __serve_build_asgi_app__(self) -> Any:
        from serve.routes import http_app

        return http_app(self._scoring, self.settings, self._digests, self._admission)

    def check_health(self) -> None:
        """Serve replaces a replica that raises here."""
        self._scoring.engine.check_health()

    async def get_reward(self, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._handle(self._scoring.get_reward, RewardRequest, payload)

    async def score(self, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._handle(self._scoring.score, ScoreRequest, payload)

    async def compare(self, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._handle(self._scoring.compare, CompareRequest, payload)

    async def model(self) -> dict[str, Any]:
        return self._scoring.info.model_dump(mode="json")

    async def _handle(self, method: Any, request: type[Wire], payload: Any) -> dict[str, Any]:
        """Admission and deadline as over HTTP. Raises RequestError."""
        with self._admission.slot():
            try:
                async with asyncio.timeout(self.settings.request_timeout_s):
                    answer = await method(parse(request, payload))
            except TimeoutError:
                message = f"no answer within {self.settings.request_timeout_s:g} s"
                raise RequestError(504, "deadline_exceeded", message) from None
        return answer.model_dump(mode="json")


def load_model(settings: ServeSettings) -> Any:
    """The checkpoint on this replica's device, with its number of threads. Raises CheckpointError."""
    import torch

    from wildreward.fast_reward_model import FastRewardModel

    if settings.engine == "vllm":
        from serve.vllm_engine import reward_model_without_weights

        return reward_model_without_weights(settings)
    torch.set_num_threads(settings.threads_per_replica)
    return FastRewardModel.load(
        settings.checkpoint,
        device="cuda" if settings.gpus_per_replica else "cpu",
        dtype=settings.dtype,
        template=settings.template,
        trust_remote_code=settings.trust_remote_code,
    )


def application(settings: ServeSettings, digests: list[str]) -> Any:
    """The Serve application of these settings."""
    deployment: Any = ray_serve.deployment(
        ray_serve.ingress()(Scorer),
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": settings.cpus_per_replica, "num_gpus": settings.gpus_per_replica},
        max_ongoing_requests=settings.max_ongoing_requests + STATUS_SLOTS,
        max_queued_requests=settings.max_queued_requests,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=settings.retry_after_s),
        autoscaling_config=AutoscalingConfig(
            min_replicas=settings.min_replicas,
            max_replicas=settings.max_replicas,
            target_ongoing_requests=settings.target_ongoing_requests,
            upscale_delay_s=settings.upscale_delay_s,
            downscale_delay_s=settings.downscale_delay_s,
        ),
        logging_config={"enable_access_log": settings.access_log},
    )
    return deployment.bind(settings.model_dump(mode="json"), digests)


def build(args: dict[str, Any]) -> Any:
    """For `serve run` and `serve deploy`: any field of ServeSettings, `checkpoint=DIR` at least. Raises UsageError.

    Host and port belong to the Serve instance there, not to the application.
    """
    settings = ServeSettings.parse(args, "serve.app:build")
    return application(settings, token_digests(settings))
