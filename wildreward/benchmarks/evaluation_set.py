"""What all kinds of evaluation sets have in common: rows, replies to be scored, and what was left out and why."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wildreward.benchmarks.measure import MeasureOptions, Metrics
from wildreward.errors import DataError
from wildreward.formatting import markdown_counts
from wildreward.metrics import Array
from wildreward.records import Record
from wildreward.scorer import Conversation, Unscored

if TYPE_CHECKING:
    from wildreward.benchmarks.downstream import Downstream
    from wildreward.reward_model import Score

Item = dict[str, Any]
"""One row as it is written to items/: ids, scores, lengths, never a text; `skipped` holds a reason or None."""


@dataclass(frozen=True)
class Reply:
    """A place in the list of conversations to be scored, and the reply's length in characters and its markdown."""

    position: int
    chars: int
    formats: Mapping[str, int]


@dataclass(frozen=True)
class SetResult:
    """All that is said of one set."""

    metrics: Metrics
    headline: tuple[str, ...]
    """The metrics that decide the verdict, the first before the others."""
    subsets: Mapping[str, Metrics] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More facts of the kind of set, as plain values: counts, a confusion matrix. Of an official benchmark `official`:
    whether its files are complete, and what is missing (parts.Coverage)."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers must know first: that a benchmark is partial, and in what."""


class EvaluationSet(ABC):
    """Rows of one benchmark. A subclass reads a row into an item, and measures the scored items."""

    kind: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """Columns by which a file is recognised."""
    whole: ClassVar[bool] = False
    """Whether the files of one directory belong together, whatever their names."""
    shown: ClassVar[tuple[str, ...]] = ()
    """The metrics that the console prints; where empty, evaluation_console decides by the kind."""

    def __init__(self, name: str, files: Sequence[str]) -> None:
        self.name, self.files = name, tuple(files)
        self.downstream: Downstream | None = None
        self.items: list[Item] = []
        self.conversations: list[Conversation] = []
        self._replies: list[dict[str, Reply]] = []
        self._ids: set[str] = set()

    @classmethod
    def families(cls) -> list[str]:
        """The kind, and the kinds it is a special case of, the nearest first: who shows pairs shows RewardBench too."""
        return [str(vars(base)["kind"]) for base in cls.__mro__ if "kind" in vars(base)]

    @classmethod
    def recognises(cls, columns: Iterable[str], sample: Iterable[Mapping[str, Any]] = ()) -> bool:
        """Whether a file with these columns is of this kind, to judge by the first of these rows that lacks nothing."""
        if not set(cls.needs) <= set(columns):
            return False
        whole = next((row for row in sample if all(row.get(name) is not None for name in cls.needs)), None)
        return whole is None or cls.is_one(whole)

    @classmethod
    def is_one(cls, values: Mapping[str, Any]) -> bool:
        """Whether the values of a row fit, where the names of the columns do not tell."""
        return True

    def add(self, records: Iterable[Record], path: str = "") -> None:
        """Read rows of one file. What cannot be used is kept as an item with the reason in `skipped`."""
        self.path = path
        for record in records:
            item: Item = {"row": len(self.items), "id": None, "skipped": None}
            conversations: dict[str, Conversation] = {}
            if record.values is None:
                item["skipped"] = "unreadable_row"
            else:
                item |= self.describe(record.values, len(self.items))
                item["skipped"] = self._repeated(item["id"]) or self.missing(record.values)
                if item["skipped"] is None:
                    conversations, item["skipped"] = self.replies(record.values)
            self.items.append(item)
            self._replies.append(self._placed(conversations) if item["skipped"] is None else {})

    def missing(self, values: Mapping[str, Any]) -> str | None:
        """Reason for the first needed field that is absent or null."""
        return next((f"missing_{name}" for name in self.needs if values.get(name) is None), None)

    def _repeated(self, name: str) -> str | None:
        if name in self._ids:
            return "duplicate_id"
        self._ids.add(name)
        return None

    def _placed(self, conversations: Mapping[str, Conversation]) -> dict[str, Reply]:
        placed = {}
        for role, messages in conversations.items():
            text = messages[-1]["content"]
            placed[role] = Reply(len(self.conversations), len(text), markdown_counts(text))
            self.conversations.append(messages)
        return placed

    @abstractmethod
    def describe(self, values: Mapping[str, Any], row: int) -> Item:
        """`id`, `group` (rows that are drawn together in the bootstrap) and whatever else identifies the row."""

    @abstractmethod
    def replies(self, values: Mapping[str, Any]) -> tuple[dict[str, Conversation], str | None]:
        """The conversations to score by role ("reply", or "chosen" and "rejected"), or the reason for none."""

    @abstractmethod
    def measure(self, options: MeasureOptions) -> SetResult:
        """Metrics of the scored items (`self.scored`)."""

    def take_scores(self, scores: Sequence["Score | Unscored"]) -> None:
        """Put the scores of `self.conversations` into the items. Raises DataError when nothing is left to evaluate."""
        for item, replies in zip(self.items, self._replies, strict=True):
            if replies:
                self.put(item, {role: (reply, scores[reply.position]) for role, reply in replies.items()})
        self.require_scored()

    def put(self, item: Item, scored: Mapping[str, "tuple[Reply, Score | Unscored]"]) -> None:
        """The lengths and scores of an item's replies by role; fields of several replies end with the role."""
        for role, (reply, score) in scored.items():
            suffix = "" if len(scored) == 1 else f"_{role}"
            item |= {f"{name}{suffix}": count for name, count in {"chars": reply.chars, **reply.formats}.items()}
            if isinstance(score, Unscored):
                item["skipped"] = item["skipped"] or score.reason
            else:
                item |= {f"{name}{suffix}": value for name, value in vars(score).items()}

    def texts_of(self, item: Item) -> list[Conversation]:
        """The conversations of an item that was not skipped while it was read, in the order of its replies."""
        return [self.conversations[reply.position] for reply in self._replies[item["row"]].values()]

    def require_scored(self) -> None:
        """Raises DataError when nothing is left to evaluate."""
        if not self.scored:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.skipped.items()) or "no rows"
            raise DataError(f"{self.name} ({self.files[0]}): nothing is left to evaluate: {reasons}")

    def groups(self, options: MeasureOptions) -> Array:
        """(N,) which scored items are drawn together. Raises DataError for --group-by user where no row has a user."""
        if options.group_by == "row":
            return self.column("row")
        if options.group_by == "user" and all(item.get("user") is None for item in self.scored):
            raise DataError(f"{self.name} ({self.files[0]}): --group-by user: no row has a user")
        return self.column("user" if options.group_by == "user" else "group").astype(str)

    @property
    def scored(self) -> list[Item]:
        return [item for item in self.items if item["skipped"] is None]

    @property
    def skipped(self) -> dict[str, int]:
        return dict(sorted(Counter(item["skipped"] for item in self.items if item["skipped"] is not None).items()))

    @property
    def has_probs(self) -> bool:
        """Whether the scorer gave class probabilities; a scalar reward model has none, and its scores no bounds."""
        return bool(self.scored[0].get("probs"))

    def column(self, name: str) -> Array:
        """(N,) one field of the scored items."""
        return np.array([item[name] for item in self.scored])


def as_prompt(prompt: Any) -> list[dict[str, str]] | None:
    """A prompt as messages: a string is one user message. None where it is neither, or empty."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}] if prompt.strip() else None
    if not isinstance(prompt, list) or not prompt:
        return None
    sound = all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in prompt
    )
    return [{"role": m["role"], "content": m["content"]} for m in prompt] if sound else None


def reply_to(prompt: list[dict[str, str]], response: Any) -> Conversation | None:
    """The conversation that ends with this response; None for one that is not text or is empty."""
    if not isinstance(response, str) or not response.strip():
        return None
    return [*prompt, {"role": "assistant", "content": response}]


def as_text(value: Any) -> str | None:
    """An id of whatever type as text."""
    return None if value is None else str(value)


def as_number(value: Any) -> float | None:
    """A finite number, or None.

    >>> as_number(4), as_number("4"), as_number(True), as_number(float("nan"))
    (4.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
