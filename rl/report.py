"""report.html of a DPO run: did the reward rise, how far from the start, and what does the policy write now."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.checkpoints import State
from rl.recorder import read_lines
from wildreward.improvement import Improvement, mean_reward
from wildreward.report import Report
from wildreward.settings.dpo import DpoSettings
from wildreward.storage import write_text

CURVES = (
    ("reward/mean", "reward of all completions"),
    ("reward/margin", "reward margin, chosen - rejected"),
    ("loss", "loss"),
    ("implicit/accuracy", "implicit accuracy"),
    ("kl", "KL to the starting policy, nats per completion"),
    ("completion/tokens", "completion length, tokens"),
)
SHOWN_SAMPLES = 6
SHOWN_CHARACTERS = 400


def write_report(output: Path, settings: DpoSettings, state: State, result: Improvement) -> None:
    report = Report("Online DPO")
    report.text(
        f"{state.step} steps on {settings.policy} with rewards of {settings.checkpoint}; "
        f"{state.pairs} pairs, skipped: {dict(state.skipped) or 'none'}."
    )
    rows = [
        ("before", result.before),
        ("after", result.after),
        ("difference", result.difference),
        ("win rate", result.win_rate),
    ]
    report.table(
        ["", "mean", "95% low", "95% high"],
        [(name, value.mean, value.low, value.high) for name, value in rows],
        caption=f"Reward on {result.prompts} held-out prompts, same prompts and same sampling seeds before and after",
    )
    report.figure(_curves(read_lines(output / "metrics.jsonl"), state, settings.seed), "The run, step by step")
    report.heading("Samples")
    samples = [row for row in read_lines(output / "samples.jsonl") if row["kind"] == "evaluation"][-SHOWN_SAMPLES:]
    report.table(["step", "prompt", "completion", "reward"], [row for item in samples for row in _sample_rows(item)])
    write_text(str(output / "report.html"), report.html())


def _curves(metrics: Sequence[dict[str, Any]], state: State, seed: int) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(2, 3).flat, CURVES, strict=True):
        points = [(row["step"], row[name]) for row in metrics if name in row]
        axes.plot([step for step, _ in points], [value for _, value in points], marker=".")
        axes.set_title(label, fontsize=9)
        axes.grid(alpha=0.3)
        if name == "reward/mean":
            held_out = [(step, mean_reward(rewards, seed)) for step, rewards in sorted(state.evaluations.items())]
            means = [value.mean for _, value in held_out]
            spread = [[v.mean - v.low for _, v in held_out], [v.high - v.mean for _, v in held_out]]
            axes.errorbar([step for step, _ in held_out], means, yerr=spread, fmt="o", capsize=3, label="held out")
            axes.legend(fontsize=8)
    return figure


def _sample_rows(item: dict[str, Any]) -> list[tuple[Any, ...]]:
    prompt = item["messages"][-1]["content"][:SHOWN_CHARACTERS]
    return [
        (item["step"], prompt, completion["text"][:SHOWN_CHARACTERS], completion["reward"])
        for completion in item["completions"]
    ]
