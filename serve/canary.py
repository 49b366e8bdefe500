"""Is a checkpoint fit to serve? Asked of its files first, then of the loaded model, which scores a fixed text.

Every replica asks its own model, so that one that gives no numbers never becomes ready. An update asks in a Ray task
with a replica's resources before any running replica is touched.
"""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from serve.schema import RequestError, ScoreRequest
from serve.tokens import token_digests
from wildreward.cpu_memory import keep_freed_memory
from wildreward.errors import CheckpointError, WildrewardError
from wildreward.fetched import described, has_weights
from wildreward.settings.serve import ServeSettings

if TYPE_CHECKING:
    from serve.scoring import Scoring

FIXED_TEXT = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
]


def check_files(settings: ServeSettings) -> None:
    """What can be known without starting anything: the checkpoint's files, its head and its template, the tokens.

    Raises CheckpointError or UsageError.
    """
    from wildreward.chat_template import check_given

    token_digests(settings)
    directory = described(settings.checkpoint)
    if not directory.exists():
        raise CheckpointError(f"--checkpoint {settings.checkpoint}: no such directory")
    if not (directory / "config.json").is_file():
        raise CheckpointError(f"--checkpoint {settings.checkpoint}: no config.json in it: not a checkpoint directory")
    if not has_weights(settings.checkpoint):
        raise CheckpointError(f"--checkpoint {settings.checkpoint}: no *.safetensors in it: no weights to load")
    try:
        json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{directory}/config.json: not valid JSON: {error}") from None
    check_given(directory, settings.template, settings.chat_template)


def load_model(settings: ServeSettings) -> Any:
    """The checkpoint on this process's device, with a replica's number of threads. Raises CheckpointError."""
    if settings.engine == "vllm":
        from serve.vllm_engine import reward_model_without_weights

        return reward_model_without_weights(settings)
    keep_freed_memory()
    import torch

    from wildreward.chat_template import read_chat_template
    from wildreward.fast_reward_model import FastRewardModel

    torch.set_num_threads(settings.threads_per_replica)
    return FastRewardModel.load(
        settings.checkpoint,
        device="cuda" if settings.gpus_per_replica else "cpu",
        dtype=settings.dtype,
        template=settings.template,
        trust_remote_code=settings.trust_remote_code,
        calibrated=settings.calibrated,
        chat_source=read_chat_template(settings.chat_template),
    )


async def check_scoring(scoring: "Scoring") -> None:
    """Raises CheckpointError unless a fixed text gets a score within the scale, the way every request does."""
    checkpoint, classes = scoring.settings.checkpoint, scoring.info.num_classes
    try:
        answer = await scoring.score(ScoreRequest.model_validate({"items": [{"messages": FIXED_TEXT}]}))
    except RequestError as error:
        raise CheckpointError(f"--checkpoint {checkpoint}: a fixed text gets no score: {error}") from None
    [reply] = answer.items[0].responses
    if not 1 <= reply.score <= classes:
        raise CheckpointError(f"--checkpoint {checkpoint}: a fixed text scores {reply.score}, not within 1..{classes}")


def meaning_of(model: Any) -> dict[str, Any]:
    """What callers rely on: the scale, and how a conversation becomes text. The length may differ."""
    template = {name: value for name, value in asdict(model.template).items() if name != "max_tokens"}
    return {"num_classes": model.num_classes, "template": template}


def score_once(settings: ServeSettings) -> dict[str, Any]:
    """Load the checkpoint in a task of its own on a replica's kind of device; its `meaning_of`.

    Raises CheckpointError with what is wrong, or WildrewardError where the cluster has no room for it in time.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayTaskError, WorkerCrashedError

    # CPUs are not asked for: the task is short, and a full cluster must be able to take an update.
    task = ray.remote(num_cpus=0, num_gpus=settings.gpus_per_replica, max_retries=0)(_load_and_score)
    answer = task.options(name="TryCheckpoint").remote(settings.model_dump(mode="json"))
    try:
        meaning: dict[str, Any] = ray.get(answer, timeout=settings.start_timeout_s)
    except GetTimeoutError:
        ray.cancel(answer, force=True)
        raise WildrewardError(
            f"--start-timeout-s {settings.start_timeout_s:g}: the checkpoint was not loaded in time; "
            f"trying it needs {settings.gpus_per_replica:g} free GPUs"
        ) from None
    except WorkerCrashedError as error:
        raise CheckpointError(f"--checkpoint {settings.checkpoint}: loading it ended its process: {error}") from None
    except RayTaskError as error:
        if isinstance(error.cause, WildrewardError):
            raise error.cause from None
        raise
    return meaning


def _load_and_score(settings: dict[str, Any]) -> dict[str, Any]:
    from serve.scoring import Scoring

    parsed = ServeSettings.parse(settings)
    model = load_model(parsed)
    scoring = Scoring(model, parsed)
    try:
        asyncio.run(check_scoring(scoring))
    finally:
        scoring.engine.close()
    return meaning_of(model)
