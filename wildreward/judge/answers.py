"""One answer of a language model judge with what it cost, before it is a verdict on feedback or on a refusal."""

from dataclasses import dataclass

from wildreward.judge.types import RefusalVerdict, Verdict

REASK_TEMPERATURE = 0.3
"""A re-ask samples at least this warm: at 0 a model would give the same answer again."""

TOP_LOGPROBS = 20
"""Alternatives asked for per token where log-probabilities are wanted: the most OpenAI gives."""


@dataclass
class Cost:
    """Requests made and tokens used for one question, over all tries. Tokens are None until somebody counts them."""

    attempts: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def add_tokens(self, prompt: int, completion: int) -> None:
        self.prompt_tokens = (self.prompt_tokens or 0) + prompt
        self.completion_tokens = (self.completion_tokens or 0) + completion


@dataclass(frozen=True)
class Answer:
    """A value of the alphabet, or a typed error: unparsable, timeout, connection, malformed_response, http_NNN."""

    value: int | None
    probs: tuple[float, ...] | None
    raw: str | None
    cost: Cost
    error: str | None = None
    error_detail: str | None = None

    def verdict(self, judge: str, prompt_version: str) -> Verdict:
        return Verdict(
            level=self.value,
            level_probs=self.probs,
            raw=self.raw,
            judge=judge,
            prompt_version=prompt_version,
            attempts=self.cost.attempts,
            prompt_tokens=self.cost.prompt_tokens,
            completion_tokens=self.cost.completion_tokens,
            error=self.error,
            error_detail=self.error_detail,
        )

    def refusal_verdict(self) -> RefusalVerdict:
        return RefusalVerdict(
            verdict=self.value,
            raw=self.raw,
            attempts=self.cost.attempts,
            prompt_tokens=self.cost.prompt_tokens,
            completion_tokens=self.cost.completion_tokens,
            error=self.error,
            error_detail=self.error_detail,
        )
