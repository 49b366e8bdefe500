"""Settings of `wildreward serve`: one Ray Serve deployment that answers HTTP, batches by tokens and holds the model."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from wildreward.settings.base import StageSettings

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ServeSettings(StageSettings):
    """What is served, where, on what, and how much of it at once."""

    PLACEMENT = frozenset({"detach"})

    checkpoint: str
    """Checkpoint directory of a reward model (what `wildreward train` writes), on a path every replica can read."""

    template: str | None = None
    """Template file (wildreward_template.json) for a checkpoint that has none beside its weights, or "chat" for its
    tokenizer's own chat template."""

    chat_template: str | None = None
    """Jinja file that renders conversations, for a checkpoint without a template; on a path every replica can read."""

    trust_remote_code: bool = False
    """Run the model code a checkpoint brings along. Only for checkpoints you trust."""

    calibrated: bool = True
    """Scores go through the checkpoint's calibration, where it has one; without it they are those of training."""

    host: str = "127.0.0.1"
    """Address the HTTP proxies listen on. Anything but loopback without a token is warned about."""

    port: int = Field(default=8000, ge=0, le=65535)
    """HTTP port; 0 takes a free one."""

    app_name: str = Field(default="wildreward", min_length=1)
    """Name of the Serve application; in-cluster clients find the deployment by it."""

    route_prefix: str = Field(default="/", pattern=r"^/([\w.~-]+(/[\w.~-]+)*)?$")
    """Path under which the routes are; a second scorer on the same cluster needs one of its own."""

    detach: bool = False
    """Leave the scorer running in the cluster and return. Needs a cluster that outlives this command (--address)."""

    start_timeout_s: float = Field(default=300.0, gt=0)
    """How long the first replica may take to load the checkpoint, in seconds."""

    min_replicas: int = Field(default=1, ge=0)
    """Fewest replicas; 0 scales to nothing when idle, and the first request then waits for a replica to load."""

    max_replicas: int = Field(default=1, ge=1)
    """Most replicas."""

    target_ongoing_requests: float = Field(default=32.0, gt=0)
    """Requests in flight per replica that autoscaling aims at."""

    upscale_delay_s: float = Field(default=5.0, ge=0)
    """Seconds of higher load before replicas are added."""

    downscale_delay_s: float = Field(default=60.0, ge=0)
    """Seconds of lower load before replicas are removed."""

    load_window_s: float = Field(default=10.0, gt=0)
    """Seconds over which autoscaling averages the load."""

    update_surge_percent: int = Field(default=25, ge=0, le=100)
    """Replicas of a new version that may run beside the old ones during an update, in percent of the replicas, rounded
    up. 0 needs no room, but stops an old replica before its successor has loaded: requests wait meanwhile."""

    allow_incompatible: bool = False
    """Let an update change the template, the number of classes, or take the tokens away."""

    max_ongoing_requests: int = Field(default=256, ge=1)
    """Scoring requests a replica holds, running and waiting; one more is answered 503 with Retry-After at once."""

    max_queued_requests: int = Field(default=512, ge=1)
    """Requests each HTTP proxy or handle holds while every replica is full or none is up; one more is answered 503."""

    retry_after_s: int = Field(default=1, ge=1)
    """Seconds an overloaded scorer asks clients to wait (the Retry-After header)."""

    request_timeout_s: float = Field(default=60.0, gt=0)
    """Deadline of a request from its arrival at a replica, in seconds; past it the answer is 504."""

    cpus_per_replica: float = Field(default=1.0, ge=0)
    """CPUs Ray reserves for a replica."""

    gpus_per_replica: float = Field(default=0.0, ge=0)
    """GPUs Ray reserves for a replica; above 0 the model runs on cuda."""

    engine: Literal["transformers", "vllm"] = "transformers"
    """What runs the model: transformers in the replica, or a vLLM pooling engine beside it (decoders; prefix cache)."""

    engine_options: dict[str, Any] = Field(default={})
    """Arguments of vLLM's engine, over what follows from the settings here (`gpu_memory_utilization: 0.5`)."""

    threads: int = Field(default=0, ge=0)
    """Torch threads per replica; 0 takes cpus_per_replica, rounded up."""

    batches_at_once: int = Field(default=0, ge=0)
    """Batches a replica runs side by side, each on its part of the threads; 0 is one a thread, and one on a GPU."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the model. bfloat16 is faster on CPUs with avx512_bf16 or amx, and moves scores by about 0.01."""

    batch_tokens: int = Field(default=4096, ge=16)
    """Padded tokens of one forward pass, over all requests waiting; one longer item goes alone."""

    batch_wait_s: float = Field(default=0.0, ge=0, le=10)
    """How long an idle replica waits for more requests before it runs a batch, in seconds."""

    max_items: int = Field(default=256, ge=1)
    """Most texts or replies in one request; more is refused."""

    max_text_chars: int = Field(default=200_000, ge=1)
    """Most characters of one text or of one conversation; more is refused before it is tokenised."""

    max_body_bytes: int = Field(default=8_388_608, ge=1024, le=268_435_456)
    """Most bytes of a request body; more is refused before it is parsed."""

    too_long: Literal["cut", "reject"] = "cut"
    """A text beyond the model's max_tokens: cut by the template's rule and reported, or refused."""

    token_env: str = "WILDREWARD_SERVE_TOKENS"
    """Environment variable with the accepted bearer tokens, separated by commas. Unset: no token is asked for."""

    token_file: str | None = None
    """File with accepted bearer tokens, one a line, on a path every replica can read; besides those of the environment.
    Replicas read it again when it changes."""

    access_log: bool = False
    """Write one line a request to the Serve logs."""

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas: found {self.min_replicas}; at most max_replicas {self.max_replicas} is allowed"
            )
        return self

    @model_validator(mode="after")
    def _target_can_be_reached(self) -> Self:
        if self.max_replicas > self.min_replicas and self.target_ongoing_requests > self.max_ongoing_requests:
            raise ValueError(
                f"target_ongoing_requests: found {self.target_ongoing_requests:g}; at most max_ongoing_requests "
                f"{self.max_ongoing_requests} is allowed: a replica refuses what is beyond, and would never scale"
            )
        return self

    @model_validator(mode="after")
    def _half_precision_on_gpu(self) -> Self:
        if self.dtype == "float16" and not self.gpus_per_replica:
            raise ValueError("dtype: found float16 with gpus_per_replica 0; allowed on CPU are float32 and bfloat16")
        return self

    @property
    def threads_per_replica(self) -> int:
        return self.threads or max(1, math.ceil(self.cpus_per_replica))

    @property
    def batches_per_replica(self) -> int:
        return self.batches_at_once or (1 if self.gpus_per_replica else self.threads_per_replica)

    @model_validator(mode="after")
    def _options_of_vllm(self) -> Self:
        if self.engine_options and self.engine != "vllm":
            raise ValueError(f"engine_options: found {sorted(self.engine_options)} with engine {self.engine}")
        return self
