"""Samples of what the policy writes, with the scores it got: rows of samples.jsonl."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from rl.roles import Scored
from wildreward.pairs import Pair

PROMPTS = 2
"""Prompts of which the completions are kept each time."""


def sample_rows(kind: str, scored: Scored, pairs: Mapping[int, Pair]) -> Iterator[dict[str, Any]]:
    """Of a step's or evaluation's first prompts: the whole conversation, every completion, and what became of it."""
    for index in range(min(PROMPTS, len(scored.prompts))):
        second_G = scored.second_PG[index] if scored.second_PG else [None] * len(scored.completions_PG[index])
        completions = [
            {
                "text": item.text,
                "reward": reward,
                **({"second": second} if scored.second_PG else {}),
                "tokens": len(item.ids),
                "cut_off": item.cut_off,
                **({"role": role} if (role := _role(place, pairs.get(index))) else {}),
            }
            for place, (item, reward, second) in enumerate(
                zip(scored.completions_PG[index], scored.rewards_PG[index], second_G, strict=True)
            )
        ]
        messages = list(scored.prompts[index].prompt.messages)
        yield {"kind": kind, "version": scored.version, "messages": messages, "completions": completions}


def _role(place: int, pair: Pair | None) -> Literal["chosen", "rejected"] | None:
    if pair is None or place not in (pair.chosen, pair.rejected):
        return None
    return "chosen" if place == pair.chosen else "rejected"
