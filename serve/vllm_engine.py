"""vLLM's pooling engine behind the routes: raw logits of a sequence classifier, the head and the scale are ours.

vLLM batches by itself, and keeps the keys and values of what texts begin with alike (prefix caching): replies to one
prompt cost the prompt once. It serves who comes first first, so it is given what our queue lets go, in turns.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from serve.engine import in_thread, scores_of, tokenizing_thread
from serve.fair_queue import FairQueue
from serve.metrics import metrics
from serve.schema import RequestError
from wildreward.errors import CheckpointError
from wildreward.fetched import local_copy
from wildreward.settings.serve import ServeSettings

if TYPE_CHECKING:
    from wildreward.reward_model import RewardModel, Score
    from wildreward.template import Encoded

T = TypeVar("T")

BATCHES_INSIDE = 2
"""How many batches' tokens vLLM holds: one that runs and one to go on with; all else waits in our queue."""


class Unit(NamedTuple):
    item: "Encoded"
    answer: "asyncio.Future[Score | RequestError]"
    since: float


def reward_model_without_weights(settings: ServeSettings) -> "RewardModel":
    """Tokenizer, template, head and scale; another process loads the weights. Raises CheckpointError."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from wildreward.chat_template import read_chat_template
    from wildreward.pretrained import load_tokenizer, pad_id
    from wildreward.reward_model import RewardModel, template_of

    chat_source = read_chat_template(settings.chat_template)
    directory = local_copy(settings.checkpoint)
    found = template_of(Path(directory), settings.template, chat_source)
    config = AutoConfig.from_pretrained(directory, trust_remote_code=settings.trust_remote_code)
    tokenizer = load_tokenizer(directory, settings.trust_remote_code)
    config.pad_token_id = pad_id(tokenizer)
    with torch.device("meta"):
        backbone = AutoModelForSequenceClassification.from_config(
            config, dtype=getattr(torch, settings.dtype), trust_remote_code=settings.trust_remote_code
        )
    return RewardModel.around(
        backbone, tokenizer, settings.checkpoint, found, calibrated=settings.calibrated, chat_source=chat_source
    )


class VllmEngine:
    """A process with the model, fed in turns."""

    def __init__(self, model: "RewardModel", settings: ServeSettings) -> None:
        self.model, self.limit = model, settings.batch_tokens
        self.cached_tokens = 0
        backbone: Any = model.model.backbone
        self._llm = _start(settings, model.max_tokens, backbone.config)
        self._waiting: FairQueue[Unit] = FairQueue(lambda unit: unit.answer.done())
        self._running: set[asyncio.Task[Score | RequestError]] = set()
        self._tokens_inside = 0
        self._ids = map(str, count())
        self._tokenizing = tokenizing_thread()

    async def encode(self, encode: "Callable[[T], Encoded]", values: Sequence[T]) -> "list[Encoded]":
        return await in_thread(self._tokenizing, lambda: [encode(value) for value in values])

    async def score(self, items: "Sequence[Encoded]") -> "list[Score]":
        loop = asyncio.get_running_loop()
        mine = [Unit(item, loop.create_future(), loop.time()) for item in items]
        self._waiting.add((len(unit.item.input_ids), unit) for unit in mine)
        self._feed()
        return scores_of(await asyncio.gather(*(unit.answer for unit in mine)))

    def _feed(self) -> None:
        while self._tokens_inside < BATCHES_INSIDE * self.limit and (units := self._waiting.take(1)):
            for unit in units:
                self._tokens_inside += len(unit.item.input_ids)
                task = asyncio.get_running_loop().create_task(self._ask(unit))
                self._running.add(task)
                task.add_done_callback(partial(self._answer, unit))
                unit.answer.add_done_callback(partial(_cancel_with, task))

    def _answer(self, unit: Unit, task: "asyncio.Task[Score | RequestError]") -> None:
        self._running.discard(task)
        self._tokens_inside -= len(unit.item.input_ids)
        if not unit.answer.done():
            error = task.exception()
            if error is None:
                unit.answer.set_result(task.result())
            else:
                unit.answer.set_exception(error)
        self._feed()

    async def _ask(self, unit: Unit) -> "Score | RequestError":
        from vllm import PoolingParams, TokensPrompt
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        item, loop = unit.item, asyncio.get_running_loop()
        started = loop.time()
        parameters = PoolingParams(task="classify", use_activation=False)
        prompt = TokensPrompt(prompt_token_ids=item.input_ids)
        outputs: list[Any] = []
        try:
            async for output in self._llm.encode(prompt, parameters, next(self._ids)):
                outputs.append(output)
        except (EngineDeadError, EngineGenerateError) as error:
            return RequestError(503, "unavailable", f"the vLLM engine failed: {type(error).__name__}")
        self.cached_tokens += outputs[-1].num_cached_tokens or 0
        metrics().batch(1, len(item.input_ids), started - unit.since, loop.time() - started)  # vLLM batches inside
        try:
            return self.model.scores_of(outputs[-1].outputs.data.float()[None], [item])[0]
        except CheckpointError:
            return RequestError(500, "not_a_number", "the model gives no finite score for this text")

    def check_health(self) -> None:
        if self._llm.errored:
            raise RuntimeError("the vLLM engine is dead")

    def close(self) -> None:
        self._llm.shutdown()
        self._tokenizing.shutdown(wait=False, cancel_futures=True)


def _cancel_with(task: "asyncio.Task[Any]", answer: "asyncio.Future[Any]") -> None:
    """What nobody waits for any more is taken out of vLLM."""
    if answer.cancelled():
        task.cancel()


def _start(settings: ServeSettings, max_tokens: int, config: Any) -> Any:
    """Raises CheckpointError with vLLM's own reason where it cannot serve the checkpoint."""
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise CheckpointError(f"engine vllm: {error}; install it with: pip install 'wildreward[vllm]'") from None
    from wildreward.shared_prefix import can_share

    given = {
        "model": local_copy(settings.checkpoint),
        "runner": "pooling",
        "dtype": settings.dtype,
        "max_model_len": max_tokens,
        "max_num_batched_tokens": max(settings.batch_tokens, max_tokens),
        "enforce_eager": not settings.gpus_per_replica,
        "trust_remote_code": settings.trust_remote_code,
        "disable_log_stats": True,
        # Asked of decoders only: an encoder has no prefix to keep, and vLLM decides for the rest.
        "enable_prefix_caching": True if can_share(config) else None,
    }
    try:
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**given | settings.engine_options))
    except (ValueError, TypeError, RuntimeError, AssertionError, OSError, ImportError) as error:
        reason = " ".join(str(error).split())[:500]
        raise CheckpointError(f"{settings.checkpoint}: vLLM cannot serve it: {reason}") from error
