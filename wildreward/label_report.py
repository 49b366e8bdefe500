"""report.html of a label run: funnel, labels before and after refinement, the judge's failures and pace, sample rows.

The page holds users' words where `report_samples` is above 0, and says so; nothing else on it is from the texts.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from wildreward import label_figures as figures
from wildreward.breakdown import top
from wildreward.report import Report
from wildreward.samples import Samples
from wildreward.scale import LEVEL_NAMES, LEVELS
from wildreward.timeline import Timeline

MAX_GROUPS = 15
"""Languages or models in one table or picture; the rest is one line."""


def label_report(
    summary: Mapping[str, Any], classes: Mapping[int, int], timeline: Timeline, samples: Samples
) -> Report:
    """The report of a run from its summary.json, and from what is on no other page: the pace, and the sample rows."""
    report = Report("WildFB labels")
    _funnel(report, summary)
    _labels(report, summary, classes)
    for what in ("language", "model"):
        _by_group(report, what, summary[f"by_{what}"])
    _judge(report, summary)
    _pace(report, summary, timeline)
    report.heading("Lengths")
    report.figure(figures.lengths(summary["lengths_chars"]), "Prompts and replies of the rows kept, in characters")
    _samples(report, samples)
    return report


def _funnel(report: Report, summary: Mapping[str, Any]) -> None:
    report.heading("Funnel")
    report.text(
        "Every conversation, turn and row that came in is counted once: kept, or under the reason it was left out."
    )
    report.figure(figures.bars(funnel_counts(summary), "count"), "From conversations to rows")
    report.table(["level", "outcome", "count"], outcomes(summary), "Where everything went")


def _labels(report: Report, summary: Mapping[str, Any], classes: Mapping[int, int]) -> None:
    report.heading("Labels")
    levels = summary["levels"]
    report.figure(figures.levels(levels), "Feedback levels as judged and after refinement")
    rows = [(level, name, *(levels[kind][str(level)] for kind in levels)) for level, name in LEVEL_NAMES.items()]
    report.table(["level", "name", *levels], rows, "Feedback levels, in turns")
    report.table(
        ["class", "turns as judged", "turns after refinement", "rows kept"],
        class_rows(summary, classes),
        "Classes before and after refinement, and after the filters",
    )
    report.table(["source", "rows"], list(summary["sources"].items()), "Where the labels of the rows kept come from")


def _by_group(report: Report, what: str, groups: Mapping[str, Mapping[str, int]]) -> None:
    shown = top(groups, MAX_GROUPS)
    report.heading(f"By {what}")
    if not shown:
        return report.text("No conversation could be read.")
    report.figure(figures.shares(shown), f"Feedback levels by {what}: left as judged, right after refinement")
    classes = sorted({name for counts in shown.values() for name in counts if name.startswith("class_")})
    judged, refined = ([f"{kind}_{level}" for level in LEVELS] for kind in KINDS)
    for columns, caption in (
        (["conversations", "turns", "errors", *judged], "turns by the level as judged"),
        ([*refined, "rows", *classes], "turns by the level after refinement; rows kept, by class"),
    ):
        rows = [(name, *(counts.get(column, 0) for column in columns)) for name, counts in shown.items()]
        headers = [column.removeprefix("judged_").removeprefix("refined_").replace("_", " ") for column in columns]
        report.table([what, *headers], rows, f"By {what}: {caption}")
    return None


KINDS = ("judged", "refined")


def _judge(report: Report, summary: Mapping[str, Any]) -> None:
    report.heading("The judge")
    turns, asked = summary["turns"]["in"], refusals_asked(summary["judge"], summary["refusal_errors"])
    report.table(["judge", "count"], list(summary["judge"].items()), "What was asked of the judge")
    errors = [("feedback", reason, count, share(count, turns)) for reason, count in summary["turns"]["errors"].items()]
    errors += [("refusal", reason, count, share(count, asked)) for reason, count in summary["refusal_errors"].items()]
    if errors:
        report.table(["question", "error", "turns", "of those asked"], errors, "Questions without an answer, by reason")
    else:
        report.text("Every question that was asked was answered.")
    extra = summary["judge_requests_beyond_one"]
    report.table(
        ["requests beyond one for each question", "turns", "of all turns"],
        [(number, count, share(count, turns)) for number, count in extra.items()],
        "Retries and re-asks: requests that failed and were made again, and answers without a level",
    )
    if "judge_session" in summary:
        rows = list(session_rows(summary["judge_session"]))
        report.table(
            ["counter", "count", "share"], rows, "What the last session asked of the judge, and how often again"
        )


def session_rows(stats: Mapping[str, float]) -> Iterator[tuple[str, float, str]]:
    """(what, count, share) of the counters of a judge over HTTP: retries by reason of its requests, re-asks of answers.

    >>> list(session_rows({"requests": 10, "answers": 8, "retries_http_429": 2, "reasks": 1}))
    [('requests', 10, ''), ('answers', 8, ''), ('retries_http_429', 2, '20.00%'), ('reasks', 1, '12.50%')]
    """
    for name, count in stats.items():
        of = stats.get("requests", 0) if name.startswith("retries_") else stats.get("answers", 0)
        yield name, count, share(count, of) if name.startswith(("retries_", "reasks")) else ""


def _pace(report: Report, summary: Mapping[str, Any], timeline: Timeline) -> None:
    report.heading("Pace")
    report.text("Seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in summary["seconds"].items()))
    shown = timeline.shown()
    if not shown:
        return report.text("When the turns were judged is not recorded in these files.")
    first, width_s = shown[0][:2]
    last = shown[-1][0] + width_s
    active = [rate for _, _, rate in shown if rate]
    report.text(
        f"Turns were judged from {_clock(first)} to {_clock(last)} UTC. In the {len(active)} of {len(shown)} intervals "
        f"of {width_s:,} s in which blocks were written, {sum(active) / len(active):,.1f} turns a second on average, "
        f"{max(active):,.1f} at most. A gap is a run that stood still, or was started again later."
    )
    report.figure(figures.pace(shown), "Turns judged per second, by the time at which their block was written")
    return None


def _samples(report: Report, samples: Samples) -> None:
    if not samples.per_group:
        return
    report.heading("Sample rows")
    report.text(
        f"At most {samples.per_group} rows of each kind, drawn at random (seed {samples.seed}). These are users' own "
        "words: look at this page before you pass it on, or make it without them (--report-samples 0)."
    )
    for group, rows in sorted(samples.shown().items(), key=lambda item: item[0].startswith("dropped")):
        level = LEVEL_NAMES.get(int(group[-1]), "") if group.startswith("level ") else ""
        with report.folded(f"{group} {level}".strip() + f" ({len(rows)})"):
            for row in rows:
                report.text(", ".join(f"{name}: {value}" for name, value in row["facts"].items()))
                for name, text in row["texts"].items():
                    report.quote(name, text)


def funnel_counts(summary: Mapping[str, Any]) -> dict[str, int]:
    """The main steps, each a subset of what was before."""
    rows = summary["rows"]
    return {
        "conversations in": summary["conversations"]["in"],
        "conversations with a turn": summary["conversations"]["kept"],
        "turns": summary["turns"]["in"],
        "turns labelled": summary["turns"]["labelled"],
        "rows kept": rows["train"] + rows["test"],
    }


def outcomes(summary: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """(level, outcome, count) for every outcome that occurred; at each level `in` is the sum of the rest."""
    rows = []
    for level in ("conversations", "turns", "rows"):
        for name, value in summary[level].items():
            parts = (
                {f"{name}: {key}": count for key, count in value.items()} if isinstance(value, dict) else {name: value}
            )
            rows += [(level, outcome, count) for outcome, count in parts.items()]
    return rows + [("messages", f"skipped: {reason}", count) for reason, count in summary["skipped_messages"].items()]


def class_rows(summary: Mapping[str, Any], classes: Mapping[int, int]) -> Iterator[tuple[str, int, int, int]]:
    """(class, turns whose judged level is of it, turns whose refined level is, rows kept), and what has no class."""
    for number in sorted(set(classes.values())):
        levels = [str(level) for level, name in classes.items() if name == number]
        counts = [sum(summary["levels"][kind][level] for level in levels) for kind in KINDS]
        yield (str(number), *counts, summary["classes"].get(str(number), 0))
    left = [str(level) for level in LEVELS if level not in classes]
    counts = [sum(summary["levels"][kind][level] for level in left) for kind in KINDS]
    yield ("none", *counts, 0)


def refusals_asked(judge: Mapping[str, int], errors: Mapping[str, int]) -> int:
    """How often the refusal question was put.

    >>> refusals_asked({"attempts": 9, "refusal_verdict_0": 2, "refusal_verdict_1": 3}, {"timeout": 1})
    6
    """
    return sum(count for name, count in judge.items() if name.startswith("refusal_verdict_")) + sum(errors.values())


def share(count: float, of: float) -> str:
    """
    >>> share(1, 8), share(0, 0)
    ('12.50%', '-')
    """
    return f"{count / of:.2%}" if of else "-"


def _clock(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
