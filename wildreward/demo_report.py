"""What the demo says at its end: facts read from the files of each stage, two claims, one table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wildreward.storage import join
from wildreward.synthetic.agreement import measure

CLAIM = "pairwise_accuracy"
"""The test metric on which the reward model must beat the length-only baseline."""


def summarise(
    output: str, seconds: Mapping[str, float], total_s: float, scored: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The content of summary.json."""
    results = _json(output, "evaluate", "results.json")["sets"]
    [test] = [found for found in results.values() if found["kind"] == "wildfb"]
    return {
        "label": _json(output, "label", "summary.json"),
        "judge": measure(join(output, "label"), join(output, "data", "truth.parquet")).to_dict(),
        "reward_model": {"rows": test["evaluated"], "metrics": test["metrics"]},
        "scored": list(scored),
        "policy": _json(output, "dpo", "summary.json"),
        "seconds": dict(seconds),
        "total_seconds": total_s,
    }


def failures(summary: Mapping[str, Any]) -> list[str]:
    """The claims that did not hold, in words.

    >>> metric = {"value": 0.7, "baselines": {"length": {"value": 0.5, "difference": {"value": 0.2, "low": 0.1}}}}
    >>> failures({"reward_model": {"metrics": {CLAIM: metric}},
    ...           "policy": {"reward": {"before": {"mean": 2.0}, "after": {"mean": 1.9}}}})
    ["the policy's mean reward did not rise: 2.000 before, 1.900 after"]
    """
    found = []
    metric = summary["reward_model"]["metrics"][CLAIM]
    length = metric["baselines"]["length"]
    if length["difference"]["low"] is None or length["difference"]["low"] <= 0:
        found.append(
            f"the reward model does not beat the length-only baseline: {CLAIM} {_number(metric['value'])} against "
            f"{_number(length['value'])}, difference {interval(length['difference'])}"
        )
    before, after = (summary["policy"]["reward"][when]["mean"] for when in ("before", "after"))
    if after <= before:
        found.append(f"the policy's mean reward did not rise: {before:.3f} before, {after:.3f} after")
    return found


def show(summary: Mapping[str, Any], output: str) -> None:
    """Print the table of what happened and where the files are."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="What happened", title_justify="left", show_header=False, box=None, pad_edge=False)
    for name, value in rows(summary):
        table.add_row(name, value)
    console = Console(soft_wrap=False, highlight=False)
    console.print()
    console.print(table)
    for name, path in files(output):
        print(f"{name:<14}{path}")


def rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    conversations, sides, judge = summary["label"]["conversations"], summary["label"]["rows"], summary["judge"]
    metrics, reward = summary["reward_model"]["metrics"], summary["policy"]["reward"]
    length = metrics[CLAIM]["baselines"]["length"]
    no_rows = conversations["no_follow_up"] + sum(conversations["quarantined"].values())
    dropped = sum(sides["dropped"].values())
    filters = [tuple(count) for count in judge["filters"].values()]
    return [
        ("conversations", f"{conversations['in']} read, {conversations['kept']} judged, {no_rows} not judged"),
        ("WildFB rows", f"{sides['train']} to train, {sides['test']} to test, {dropped} dropped"),
        ("judge, true levels", _levels(judge["judged"])),
        ("rows, true levels", _levels(judge["rows"])),
        ("filter cases dropped", f"{sum(done for done, _ in filters)} of {sum(made for _, made in filters)}"),
        ("refusal verdicts", "{} of {} asked right, {} refusals made".format(*judge["refusals"])),
        ("reward model, test", f"{CLAIM.replace('_', ' ')} {interval(metrics[CLAIM])}"),
        ("  length alone", interval(length)),
        ("  better by", interval(length["difference"])),
        ("  quadratic kappa", interval(metrics["quadratic_kappa"])),
        ("policy's reward", f"{interval(reward['before'])} -> {interval(reward['after'])}"),
        ("  win rate against start", interval(summary["policy"]["win_rate"])),
        *((f"seconds: {stage}", f"{spent:.1f}") for stage, spent in summary["seconds"].items()),
        ("seconds: all", f"{summary['total_seconds']:.1f}"),
    ]  # fmt: skip


def files(output: str) -> list[tuple[str, str]]:
    return [
        ("label report", join(output, "label", "report.html")),
        ("WildFB rows", join(output, "label", "wildfb")),
        ("reward model", join(output, "train", "checkpoint")),
        ("evaluation", join(output, "evaluate", "report.html")),
        ("policy", join(output, "dpo", "policy")),
        ("DPO report", join(output, "dpo", "report.html")),
        ("all figures", join(output, "summary.json")),
    ]


def interval(estimate: Mapping[str, Any]) -> str:
    """
    >>> interval({"mean": 0.51234, "low": 0.4, "high": 0.6}), interval({"value": None, "low": None, "high": None})
    ('0.512 [0.400, 0.600]', '-')
    """
    value = estimate["mean"] if "mean" in estimate else estimate["value"]
    if estimate.get("low") is None:
        return _number(value)
    return f"{_number(value)} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _levels(found: Mapping[str, Any]) -> str:
    accuracy, kappa = interval(found["accuracy"]), interval(found["quadratic_kappa"])
    return f"accuracy {accuracy}, quadratic kappa {kappa}, n {found['turns']}"


def _json(output: str, *parts: str) -> Any:
    return json.loads(Path(join(output, *parts)).read_text(encoding="utf-8"))
