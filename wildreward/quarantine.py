"""How much of the input cannot be read, and from which share on a run had better stop.

A few bad rows are in every log. When every second one is bad, the files are not what they are taken for (another
schema, another encoding, a broken export), and what is left is no sample of anything.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wildreward.settings.label import LabelSettings

DEFAULT_FRAC = 0.5
FEW_ROWS = 100
"""The share allowed by default, and of how many rows at least: a share of fewer says nothing."""

EARLY_ROWS = 1000
"""Rows after which a run may be stopped while it still reads: one bad file at the start is no bad input yet."""

EXAMPLES = 3
REASONS = 5

Example = tuple[str, int, str, str]
"""File, row (-1: the whole file), reason, detail."""


@dataclass
class Tally:
    """Rows read and rows that could not be read, with their first examples in the order of files and rows."""

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return self.reasons.total()

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one FEEDBACK row."""
        self.rows += 1
        if row["status"] != "quarantined":
            return
        self.reasons[row["reason"]] += 1
        place = -1 if row["source_row"] is None else row["source_row"]
        self._keep([(row["source_file"], place, row["reason"], row["detail"] or "")])

    def merge(self, other: Self) -> None:
        self.rows += other.rows
        self.reasons.update(other.reasons)
        self._keep(other.examples)

    def _keep(self, examples: list[Example]) -> None:
        self.examples = sorted([*self.examples, *examples])[:EXAMPLES]


def too_many(bad: int, rows: int, settings: LabelSettings, *, early: bool = False) -> bool:
    """Whether `bad` of `rows` rows are more than `max_quarantined_frac` allows.

    `early`: the input has not been read to its end; then no share of fewer than EARLY_ROWS rows counts.

    >>> some = LabelSettings()
    >>> too_many(60, 100, some), too_many(60, 99, some), too_many(60, 100, some, early=True)
    (True, False, False)
    """
    given = settings.max_quarantined_frac
    at_least = EARLY_ROWS if early else FEW_ROWS if given is None else 1
    return rows >= at_least and bad > allowed_frac(settings) * rows


def allowed_frac(settings: LabelSettings) -> float:
    return DEFAULT_FRAC if settings.max_quarantined_frac is None else settings.max_quarantined_frac


def objection(tally: Tally, settings: LabelSettings, *, early: bool = False) -> str | None:
    """Why the run must stop, or None. See `too_many`.

    >>> print(objection(Tally(200, Counter(bad_json=150)), LabelSettings()))
    150 of 200 conversations (75.0%) cannot be read; allowed are 50.0% (max_quarantined_frac). Reasons: bad_json 150...
    """
    if not too_many(tally.bad, tally.rows, settings, early=early):
        return None
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in tally.reasons.most_common(REASONS))
    examples = [f"  {file} {_place(row)}: {reason}: {detail}" for file, row, reason, detail in tally.examples]
    read = "conversations read so far" if early else "conversations"
    return "\n".join(
        [
            f"{tally.bad:,} of {tally.rows:,} {read} ({tally.bad / tally.rows:.1%}) cannot be read; "
            f"allowed are {allowed_frac(settings):.1%} (max_quarantined_frac). Reasons: {reasons}",
            *examples,
            "What was judged is kept: the same command with a higher --max-quarantined-frac continues. "
            "Corrected files need another --output, or --overwrite.",
        ]
    )


def _place(row: int) -> str:
    return "(the whole file)" if row < 0 else f"row {row}"
