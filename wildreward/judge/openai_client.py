"""The judge behind OpenAI-compatible endpoints: one question, asked again while the answer holds no level.

What is sent, when, where and how often is the matter of `judge.calls`; here an answer becomes a verdict.
"""

from collections.abc import Mapping

from wildreward.conversations import Message
from wildreward.judge import prompts, replies
from wildreward.judge.answers import REASK_TEMPERATURE, Answer, Cost
from wildreward.judge.calls import Calls
from wildreward.judge.failures import RequestError
from wildreward.judge.request_body import RequestBodies
from wildreward.judge.shared import Alone, Shared
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.settings.label import LabelSettings

SAMPLE = TurnText([], "What is two and two?", "Four.", "Thank you!")
"""Asked to learn whether an endpoint that failed answers again."""


class OpenAIJudge:
    """`Judge` over HTTP. All its coroutines must run in one event loop."""

    prompt_version = prompts.VERSION

    def __init__(self, settings: LabelSettings, shared: Shared | None = None) -> None:
        self.name = settings.judge_model or ""
        self._settings = settings
        self._bodies = RequestBodies(settings)
        sample = self._bodies.make(prompts.feedback_messages(SAMPLE), settings.judge_temperature)
        self._calls = Calls(settings, shared or Alone(settings), sample)

    @property
    def stats(self) -> Mapping[str, float]:
        """Counters of this actor so far: requests, answers, latency_s, retries_REASON, reasks, samples, outage_s."""
        return self._calls.stats

    async def feedback(self, turn: TurnText) -> Verdict:
        question = prompts.feedback_messages(turn, self._settings.judge_history_turns)
        answer = await self._ask(question, prompts.FEEDBACK_ALPHABET)
        return answer.verdict(self.name, self.prompt_version)

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        question = prompts.refusal_messages(turn, self._settings.judge_history_turns)
        return (await self._ask(question, prompts.REFUSAL_ALPHABET)).refusal_verdict()

    async def close(self) -> None:
        await self._calls.close()

    async def _ask(self, question: list[Message], alphabet: tuple[int, ...]) -> Answer:
        """Ask until an answer holds a value, at most 1 + judge_max_reasks times. Raises JudgeError."""
        cost, text, guard = Cost(), None, self._calls.guard
        temperature = self._settings.judge_temperature
        for asked in range(1 + self._settings.judge_max_reasks):
            self._calls.stats["reasks"] += asked > 0
            try:
                completion = await self._calls.complete(self._bodies.make(question, temperature), cost)
            except RequestError as failure:
                guard.failed(failure.reason, failure.detail)
                return Answer(None, None, text, cost, failure.reason, failure.detail)
            text = completion.text
            value = replies.parse(text, alphabet)
            if value is not None:
                guard.answered()
                return Answer(value, replies.distribution(completion.tokens, value, alphabet), text, cost)
            temperature = max(temperature, REASK_TEMPERATURE)
        reason = f"no value of {alphabet} in the answer (finish_reason {completion.finish_reason})"
        guard.failed("unparsable", reason)
        return Answer(None, None, text, cost, "unparsable", reason)
