"""What a judge costs: requests, tokens and dollars, as spent by a run or as a dry run expects them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from wildreward.settings.label import LabelSettings


def usd(prompt_tokens: float, completion_tokens: float, settings: LabelSettings) -> float | None:
    """The price of these tokens; None where no prices are given.

    >>> usd(2_000_000, 100_000, LabelSettings(usd_per_million_input=0.5, usd_per_million_output=2))
    1.2
    """
    if settings.usd_per_million_input is None or settings.usd_per_million_output is None:
        return None
    cost = prompt_tokens * settings.usd_per_million_input + completion_tokens * settings.usd_per_million_output
    return round(cost / 1e6, 6)


@dataclass(frozen=True)
class Spent:
    """What all sessions of a run asked and used, as far as it was written down: what was in flight when one was killed
    is not known. `discarded_requests` are those of judgements that --retry-errors took back, counted with the rest.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int
    discarded_requests: int
    usd: float | None

    @classmethod
    def of_run(cls, judge: Mapping[str, int], discarded: Mapping[str, int], settings: LabelSettings) -> Self:
        """From the funnel's `judge` counts and those of judgements taken back. The lexicon sends no request."""
        if settings.judge == "lexicon":
            return cls(0, 0, 0, 0, usd(0, 0, settings))
        names = ("attempts", "prompt_tokens", "completion_tokens")
        requests, prompt, completion = (judge.get(name, 0) + discarded.get(name, 0) for name in names)
        price = usd(prompt, completion, settings)
        return cls(requests, prompt, completion, discarded.get("attempts", 0), price)

    def summary(self) -> dict[str, Any]:
        return asdict(self)


def cost_lines(cost: Mapping[str, Any]) -> list[str]:
    """The `cost` of summary.json as a line or two for the console.

    >>> cost_lines(Spent(12, 3400, 560, 2, 0.0123).summary())
    ['judge: 12 requests (2 of them taken back), 3,400 prompt tokens, 560 completion tokens, 0.01 USD']
    """
    if not cost["requests"]:
        return ["judge: no requests"]
    again = f" ({cost['discarded_requests']:,} of them taken back)" if cost["discarded_requests"] else ""
    price = "" if cost["usd"] is None else f", {cost['usd']:,.2f} USD"
    tokens = f"{cost['prompt_tokens']:,} prompt tokens, {cost['completion_tokens']:,} completion tokens"
    return [f"judge: {cost['requests']:,} requests{again}, {tokens}{price}"]
