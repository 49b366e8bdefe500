"""What benchmarks have in common whose rows hold several replies to one prompt: scores and lengths in lists."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wildreward.benchmarks.evaluation_set import EvaluationSet, Item, Reply, as_number, as_prompt, reply_to
from wildreward.metrics import Array
from wildreward.scorer import Conversation, Unscored

if TYPE_CHECKING:
    from wildreward.reward_model import Score


class ReplyLists(EvaluationSet):
    """Items get `scores` and `chars`, one of each reply in the order of the row. One unscored reply skips the row."""

    def put(self, item: Item, scored: Mapping[str, "tuple[Reply, Score | Unscored]"]) -> None:
        made = list(scored.values())
        item["chars"] = [reply.chars for reply, _ in made]
        unscored = next((score for _, score in made if isinstance(score, Unscored)), None)
        if unscored is not None:
            item["skipped"] = unscored.reason
            return
        item["scores"] = [score.score for _, score in made if not isinstance(score, Unscored)]

    def orders(self, seed: int) -> dict[str, list[Array]]:
        """What the model and each baseline order the replies of every scored item by: higher is better."""
        random = np.random.default_rng(seed)
        scores = [np.array(item["scores"], dtype=float) for item in self.scored]
        return {
            "model": scores,
            "length": [np.array(item["chars"], dtype=float) for item in self.scored],
            "random": [random.random(len(row)) for row in scores],
        }


def conversations_of(prompt: Any, replies: Any) -> tuple[dict[str, Conversation], str | None]:
    """The conversations of a prompt with each of its replies, or the reason for none."""
    messages = as_prompt(prompt)
    if messages is None:
        return {}, "malformed_prompt"
    if not is_list(replies) or not replies:
        return {}, "replies_not_a_list"
    made = [reply_to(messages, reply) for reply in replies]
    sound = {str(place): made_of for place, made_of in enumerate(made) if made_of is not None}
    return (sound, None) if len(sound) == len(made) else ({}, "empty_response")


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def as_truths(values: Any) -> list[float] | None:
    """True qualities of replies: a list of finite numbers, or of true and false; None for anything else.

    >>> as_truths([True, False]), as_truths([0.5, 2]), as_truths([1, None]), as_truths("right")
    ([1.0, 0.0], [0.5, 2.0], None, None)
    """
    if not is_list(values):
        return None
    made = [float(value) if isinstance(value, bool) else as_number(value) for value in values]
    sound = [value for value in made if value is not None]
    return sound if sound and len(sound) == len(made) else None
