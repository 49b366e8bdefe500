"""report.html of a DPO run: did the policy get better and by whose word, how the run went, what the policy writes."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rl.checkpoints import State
from rl.evaluation import interval
from rl.lines import read_lines
from rl.report_pictures import MAX_POINTS, pictures
from wildreward import storage
from wildreward.report import Report
from wildreward.settings.dpo import SCORERS as SCORER_KINDS
from wildreward.settings.dpo import DpoSettings

SHOWN_STEP_SAMPLES = 4
SHOWN_CHARACTERS = 1500
TITLES = {"reward": "reward model", "second": "second scorer"}


@dataclass
class Shown:
    """What of a run's files is on its page: memory does not grow with the run beyond MAX_POINTS steps."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    held_out: list[dict[str, Any]] = field(default_factory=list)
    step_samples: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN_STEP_SAMPLES))


def write_report(settings: DpoSettings, state: State, summary: Mapping[str, Any]) -> None:
    html = report_of(settings, state, summary, read_shown(settings.output, state)).html()
    storage.write_text(storage.join(settings.output, "report.html"), html)


def read_shown(output: str, state: State) -> Shown:
    """Every so many steps of metrics.jsonl and the last; samples of the start, the best and the last evaluation, and of
    the last sampled steps."""
    shown, every = Shown(), -(-state.step // MAX_POINTS) or 1
    for row in read_lines(storage.join(output, "metrics.jsonl")):
        if "pairs" in row and (row["step"] % every == 0 or row["step"] == state.step):
            shown.steps.append(row)
    for row in read_lines(storage.join(output, "samples.jsonl")):
        if row["kind"] == "step":
            shown.step_samples.append(row)
        elif row["step"] in (0, state.best, state.step):
            shown.held_out.append(row)
    return shown


def report_of(settings: DpoSettings, state: State, summary: Mapping[str, Any], shown: Shown) -> Report:
    report = Report("Online DPO")
    report.text(
        f"{state.step} steps on {settings.policy} with rewards of {_named(settings, '')}"
        + (f", evaluated by {_named(settings, 'eval_')} too." if summary["second"] else ".")
    )
    if summary["warning"]:
        report.text(f"Warning: {summary['warning']}.")
    _improvement(report, state, summary)
    report.heading("The run")
    report.pictures(pictures(shown.steps, state))
    _counts(report, state, summary)
    _samples(report, shown)
    report.heading("Settings")
    values = settings.model_dump(mode="json")
    report.table(("setting", "value"), [(name, str(value)) for name, value in values.items()], "All settings", True)
    return report


def _named(settings: DpoSettings, prefix: str) -> str:
    found = [getattr(settings, prefix + kind) for kind in SCORER_KINDS]
    return next(filter(None, found), "a scorer given in code")


def _improvement(report: Report, state: State, summary: Mapping[str, Any]) -> None:
    report.heading("Did the policy get better?")
    steps = {f"step {state.step} (last)": state.step}
    if state.best != state.step:
        steps[f"step {state.best} (best)"] = state.best or state.step
    rows = [
        (
            TITLES[name],
            what.replace("_", " "),
            *(str(interval(state.evaluations[n][name][what])) for n in steps.values()),
        )
        for name in state.start
        for what in ("before", "after", "difference", "win_rate")
    ]
    count = state.evaluations[state.step]["reward"]["prompts"]
    report.table(["by", "", *steps], rows, f"Against the starting policy, on {count} held-out prompts")
    report.text(
        "Same prompts and same sampling seeds before and after; 95% intervals, bootstrapped over prompts. The win rate "
        "is the share of prompts whose mean reward is higher than the start's, ties half."
    )
    report.text(f"The last policy is in {summary['policy']}, the best by evaluation in {summary['policy_best']}.")


def _counts(report: Report, state: State, summary: Mapping[str, Any]) -> None:
    report.heading("What was left out")
    rows = [("pairs", "learned from", state.pairs)]
    rows += [("pairs", f"skipped: {reason}", count) for reason, count in state.skipped.items()]
    rows += [("completions", reason.replace("_", " "), count) for reason, count in state.completions.items()]
    rows += [("prompts of the input", f"skipped: {reason}", n) for reason, n in summary["skipped_prompts"].items()]
    report.table(["of", "what", "count"], rows, "Pairs are one a prompt and step; completions may be counted twice")


def _samples(report: Report, shown: Shown) -> None:
    report.heading("What the policy writes")
    report.text("These may be users' own words: look at this page before you pass it on.")
    for messages, rows in _by_prompt(shown.held_out):
        with report.folded(f"held out: {_short(messages)}"):
            _conversation(report, messages)
            for row in rows:
                for completion in row["completions"]:
                    report.quote(f"step {row['step']}, {_facts(completion)}", _clipped(completion["text"]))
    for row in shown.step_samples:
        with report.folded(f"step {row['step']}: {_short(row['messages'])}"):
            _conversation(report, row["messages"])
            for completion in sorted(row["completions"], key=_worst_last):
                report.quote(_facts(completion), _clipped(completion["text"]))


def _by_prompt(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[list[dict[str, str]], list[dict[str, Any]]]]:
    """Evaluations have the same prompts each time: their samples side by side."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["messages"]), []).append(row)
    for same in found.values():
        yield same[0]["messages"], same


def _conversation(report: Report, messages: Sequence[Mapping[str, str]]) -> None:
    for message in messages:
        report.quote(message["role"], _clipped(message["content"]))


def _worst_last(completion: Mapping[str, Any]) -> float:
    return float("inf") if completion["reward"] is None else -completion["reward"]


def _facts(completion: Mapping[str, Any]) -> str:
    """
    >>> _facts({"text": "a", "reward": 2.5, "second": None, "tokens": 7, "cut_off": True, "role": "chosen"})
    'chosen, reward 2.500, second scorer: no score, 7 tokens, cut off'
    >>> _facts({"text": "", "reward": None, "tokens": 1, "cut_off": False})
    'empty, 1 tokens'
    """
    parts = [completion["role"]] if "role" in completion else []
    parts += [] if completion["text"] else ["empty"]
    for name, title in (("reward", "reward"), ("second", "second scorer")):
        if name in completion and completion["text"]:
            value = completion[name]
            parts.append(f"{title}: no score" if value is None else f"{title} {value:.3f}")
    parts.append(f"{completion['tokens']} tokens")
    return ", ".join([*parts, *(["cut off"] if completion["cut_off"] else [])])


def _short(messages: Sequence[Mapping[str, str]]) -> str:
    text = " ".join(messages[-1]["content"].split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def _clipped(text: str) -> str:
    more = len(text) - SHOWN_CHARACTERS
    return text if more <= 0 else f"{text[:SHOWN_CHARACTERS]}… ({more:,} characters more)"
