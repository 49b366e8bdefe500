"""The funnel of a label run: where every conversation, every turn and every row went. Counted in parts and merged.

At each level "in" is the sum of all the rest; `Funnel.check` raises where that does not hold, because a row that
is not accounted for is a bug, not a rounding matter.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wildreward.breakdown import Breakdown
from wildreward.errors import WildrewardError
from wildreward.samples import Samples, row_sample
from wildreward.scale import LEVELS
from wildreward.timeline import Timeline

MAX_EXTRA_REQUESTS = 10
"""Turns that took more requests than this beyond the first are counted together."""

LENGTH_BINS = tuple(2**power for power in range(3, 18))
"""Upper edges, in characters, of the length histograms: 8, 16, ..., 131072; longer texts count in the last."""


@dataclass
class Funnel:
    """Counts of one part of the feedback, or of all of it after `merge`."""

    conversations_in: int = 0
    kept: int = 0
    no_follow_up: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    turns_in: int = 0
    labelled: int = 0
    turn_errors: Counter[str] = field(default_factory=Counter)
    rows_in: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    train: int = 0
    test: int = 0
    skipped_messages: Counter[str] = field(default_factory=Counter)
    judge: Counter[str] = field(default_factory=Counter)
    judged_levels: Counter[int] = field(default_factory=Counter)
    refined_levels: Counter[int] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    extra_requests: Counter[int] = field(default_factory=Counter)
    refusal_errors: Counter[str] = field(default_factory=Counter)
    by_language: Breakdown = field(default_factory=Breakdown)
    by_model: Breakdown = field(default_factory=Breakdown)
    timeline: Timeline = field(default_factory=Timeline)
    samples: Samples = field(default_factory=Samples)
    prompt_lengths: Counter[int] = field(default_factory=Counter)
    response_lengths: Counter[int] = field(default_factory=Counter)

    def add_conversation(self, row: Mapping[str, Any]) -> None:
        """Count one feedback/ row: its outcome, its turns and what the judge was asked."""
        self.conversations_in += 1
        if row["status"] == "quarantined":
            self.quarantined[row["reason"] or "unknown"] += 1
            return
        self.kept += row["status"] == "kept"
        self.no_follow_up += row["status"] == "no_follow_up"
        self._count_in_groups(row, "conversations")
        self.skipped_messages.update(message["reason"] for message in row["skipped_messages"] or ())
        turns = row["turns"] or ()
        for turn in turns:
            self._add_turn(turn, row)
        if row.get("written_at_s") is not None:
            self.timeline.add(row["written_at_s"], len(turns))

    def _count_in_groups(self, row: Mapping[str, Any], column: str) -> None:
        self.by_language.count(row["language"], column)
        self.by_model.count(row["model"], column)

    def _add_turn(self, turn: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        self.turns_in += 1
        self._count_in_groups(row, "turns")
        if turn["error"] is not None:
            self.turn_errors[turn["error"]] += 1
            self._count_in_groups(row, "errors")
        elif turn["level"] is not None:
            self.labelled += 1
            self.judged_levels[turn["level"]] += 1
            self._count_in_groups(row, f"judged_{turn['level']}")
        self._count_requests(turn)
        self._add_cost(turn, turn.get("cached") or {})
        self.judge["level_probs"] += turn["level_probs"] is not None
        if turn["refusal_verdict"] is not None:
            self.judge[f"refusal_verdict_{turn['refusal_verdict']}"] += 1
        if turn["refusal_error"] is not None:
            self.judge["refusal_errors"] += 1
            self.refusal_errors[turn["refusal_error"]] += 1

    def _add_cost(self, turn: Mapping[str, Any], cached: Mapping[str, Any]) -> None:
        """`attempts` and tokens are what the run spent; `cached_...` beside them is what the judge cache saved."""
        self.judge["cached_answers"] += cached.get("answers") or 0
        for name in ("attempts", "prompt_tokens", "completion_tokens"):
            saved = cached.get(name) or 0
            self.judge[name] += (turn[name] or 0) - saved
            self.judge[f"cached_{name}"] += saved

    def _count_requests(self, turn: Mapping[str, Any]) -> None:
        """How many requests a turn took beyond one for each question: tries again, and questions asked again."""
        questions = 1 + (turn["refusal_verdict"] is not None or turn["refusal_error"] is not None)
        self.extra_requests[min(MAX_EXTRA_REQUESTS, max(0, (turn["attempts"] or 0) - questions))] += 1

    def refined(self, level: int, row: Mapping[str, Any]) -> None:
        """Count the level a judged turn has after refinement; `row` knows its language and model."""
        self.refined_levels[level] += 1
        self._count_in_groups(row, f"refined_{level}")

    def drop(self, reason: str, row: Mapping[str, Any] | None = None, raw: str | None = None) -> None:
        """Count one row that is left out. The row and the judge's answer are given where they may be sampled."""
        self.dropped[reason] += 1
        if row is not None:
            self.samples.offer(f"dropped: {reason}", row["id"], lambda: row_sample(row, raw))

    def keep(self, row: Mapping[str, Any], raw: str | None = None) -> None:
        """Count one WILDFB row (before it is known on which side of the split it falls)."""
        self.classes[row["label"]] += 1
        self.sources[row["source"]] += 1
        self._count_in_groups(row, "rows")
        self._count_in_groups(row, f"class_{row['label']}")
        self.samples.offer(f"level {row['level']}", row["id"], lambda: row_sample(row, raw))
        *_, prompt, response = row["messages"]
        self.prompt_lengths[length_bin(prompt["content"])] += 1
        self.response_lengths[length_bin(response["content"])] += 1

    def take_back(self, row: Mapping[str, Any], reason: str) -> None:
        """A row that was kept is dropped after all."""
        kept = Funnel()
        kept.keep(row)
        for name, counts in vars(kept).items():
            if isinstance(counts, Counter | Breakdown):
                setattr(self, name, getattr(self, name) - counts)
        self.samples.withdraw(f"level {row['level']}", row["id"])
        self.drop(reason, row)

    def merge(self, other: Self) -> Self:
        """Add the counts of another part to this one."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            setattr(self, name, mine + value)
        return self

    def check(self) -> Self:
        """Raises WildrewardError naming each level that does not add up."""
        levels = {
            "conversations": (self.conversations_in, self.kept + self.no_follow_up + self.quarantined.total()),
            "turns": (self.turns_in, self.labelled + self.turn_errors.total()),
            "rows": (self.rows_in, self.dropped.total() + self.train + self.test),
            "labelled turns as rows": (self.labelled, self.rows_in),
            "rows by class": (self.train + self.test, self.classes.total()),
        }
        wrong = [f"{name}: in {total}, accounted for {rest}" for name, (total, rest) in levels.items() if total != rest]
        if wrong:
            raise WildrewardError(f"the funnel does not add up, please report this: {'; '.join(wrong)}")
        return self

    def summary(self) -> dict[str, Any]:
        """What summary.json holds, apart from the times; nothing here depends on how the run was cut or interrupted.

        `judge_requests_beyond_one`: turns by how many requests they took beyond one for each question.
        """
        return {
            "conversations": {
                "in": self.conversations_in,
                "kept": self.kept,
                "no_follow_up": self.no_follow_up,
                "quarantined": _sorted(self.quarantined),
            },
            "turns": {"in": self.turns_in, "labelled": self.labelled, "errors": _sorted(self.turn_errors)},
            "rows": {"in": self.rows_in, "dropped": _sorted(self.dropped), "train": self.train, "test": self.test},
            "skipped_messages": _sorted(self.skipped_messages),
            "judge": _sorted(self.judge),
            "judge_requests_beyond_one": {str(extra): turns for extra, turns in sorted(self.extra_requests.items())},
            "refusal_errors": _sorted(self.refusal_errors),
            "levels": {
                "judged": {str(level): self.judged_levels[level] for level in LEVELS},
                "refined": {str(level): self.refined_levels[level] for level in LEVELS},
            },
            "classes": {str(name): count for name, count in sorted(self.classes.items())},
            "sources": _sorted(self.sources),
            "languages": {name: self.by_language.column(name) for name in ("conversations", "rows")},
            "by_language": self.by_language.to_dict(),
            "by_model": self.by_model.to_dict(),
            "lengths_chars": {
                "prompt": {str(edge): self.prompt_lengths[edge] for edge in LENGTH_BINS},
                "response": {str(edge): self.response_lengths[edge] for edge in LENGTH_BINS},
            },
        }


def length_bin(text: str) -> int:
    """Upper edge of the bin a text's length falls in.

    >>> length_bin("abc"), length_bin("a" * 9), length_bin("a" * 10**6)
    (8, 16, 131072)
    """
    return next((edge for edge in LENGTH_BINS if len(text) <= edge), LENGTH_BINS[-1])


def funnel_lines(summary: Mapping[str, Any]) -> list[str]:
    """The funnel as a short text table, every level with its parts."""
    lines = []
    for level in ("conversations", "turns", "rows"):
        lines.append(f"{level:<15}{summary[level]['in']:>9,}")
        for name, value in summary[level].items():
            parts = {f"{name}: {reason}": count for reason, count in value.items()} if isinstance(value, dict) else {}
            if name != "in":
                lines += [f"  {part:<30}{count:>9,}" for part, count in (parts or {name: _total(value)}).items()]
    return lines


def _total(value: Any) -> int:
    return sum(value.values()) if isinstance(value, dict) else int(value)


def _sorted(counter: Counter[str]) -> dict[str, int]:
    """Most frequent first, then by name, so that equal runs give equal files; zeros are left out."""
    return dict(sorted(((key, n) for key, n in counter.items() if n), key=lambda item: (-item[1], item[0])))
