"""Pictures of a DPO run: the held-out rewards with their intervals, and the measures of its steps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rl.checkpoints import State
from rl.evaluation import interval
from wildreward import evaluation_report_drawing as draw
from wildreward.report import Picture

MAX_POINTS = 500
"""A curve of more steps is drawn from every so many of them."""

CURVES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "reward": (
        "reward",
        "Rewards of a step's completions: mean, and of the pairs.",
        {"all": "reward/mean", "chosen": "reward/chosen", "rejected": "reward/rejected"},
    ),
    "loss": ("loss", "Loss.", {"loss": "loss"}),
    "accuracy": (
        "share of pairs",
        "Implicit accuracy: pairs whose chosen completion the policy favours more than the reference does.",
        {"accuracy": "implicit/accuracy"},
    ),
    "kl": ("nats per completion", "KL to the reference: how far the policy has gone.", {"KL": "kl"}),
    "entropy": (
        "nats per token",
        "Entropy of the policy. One that falls to 0 writes the same again.",
        {"entropy": "entropy"},
    ),
    "length": ("tokens", "Length of completions.", {"mean": "completion/tokens", "longest": "completion/tokens_max"}),
    "shares": (
        "share of completions",
        "Completions cut at max_new_tokens, empty, or equal to another of their prompt.",
        {name: f"completion/{name}_frac" for name in ("cut_off", "empty", "duplicate")},
    ),
    "pairs": ("pairs", "Pairs learned from.", {"pairs": "pairs"}),
    "seconds": (
        "seconds",
        "Seconds each role worked in a step (several actors added up), and those of the step.",
        {name: f"seconds/{name}" for name in ("rollout", "scorer", "reference", "learner", "step")},
    ),
    "speed": (
        "tokens per second",
        "Tokens per second of each role.",
        {name: f"tokens_per_s/{name}" for name in ("rollout", "scorer", "reference", "learner")},
    ),
}
"""Picture: y label, caption, and series by their name in metrics.jsonl."""
BAND = ("reward/p10", "reward/p90")


def pictures(steps: Sequence[Mapping[str, Any]], state: State) -> Iterator[Picture]:
    for measure, caption in (
        ("after", "Mean reward on the held-out prompts, with 95% intervals."),
        ("win_rate", "Win rate against the starting policy on the held-out prompts, ties half."),
    ):
        yield _held_out(state, measure, caption)
    for name, (ylabel, caption, sources) in CURVES.items():
        series = {title: [(row["step"], row[key]) for row in steps if key in row] for title, key in sources.items()}
        series = {title: points for title, points in series.items() if points}
        if series:
            yield _curve(name, ylabel, caption, series, steps)


def _held_out(state: State, measure: str, caption: str) -> Picture:
    """Of every scorer; one with a scale of its own has an axis of its own."""
    figure, axes = draw.panel()
    said, names = [], list(state.start)
    for place, name in enumerate(names):
        panel = axes.twinx() if place and measure == "after" else axes
        values = [(step, interval(found[name][measure])) for step, found in sorted(state.evaluations.items())]
        middle = [value.mean for _, value in values]
        spread = [[v.mean - v.low for _, v in values], [v.high - v.mean for _, v in values]]
        color = draw.OTHERS[place]
        panel.errorbar(
            [step for step, _ in values], middle, yerr=spread, color=color, marker="o", markersize=3, capsize=2,
            linewidth=1.4, label=_title(name),
        )  # fmt: skip
        if measure == "after":
            panel.set_ylabel(_title(name), color=color)
        said.append(f"{_title(name)}: {middle[0]:.4g} at step {values[0][0]}, {middle[-1]:.4g} at step {values[-1][0]}")
    if measure == "win_rate":
        axes.axhline(0.5, color="#9ca3af", linewidth=1, linestyle="--")
        axes.set(ylabel="win rate", ylim=(-0.02, 1.02))
        if len(names) > 1:
            axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes.set(xlabel="step")
    return Picture(figure, caption, f"{caption} {'; '.join(said)}.")


def _title(name: str) -> str:
    return {"reward": "reward model", "second": "second scorer"}[name]


def _curve(
    name: str,
    ylabel: str,
    caption: str,
    series: Mapping[str, Sequence[tuple[int, float]]],
    steps: Sequence[Mapping[str, Any]],
) -> Picture:
    figure, axes = draw.panel()
    if name == "reward":
        known = [row for row in steps if BAND[0] in row]
        low, high = ([row[key] for row in known] for key in BAND)
        x = [row["step"] for row in known]
        axes.fill_between(x, low, high, color=draw.OTHERS[0], alpha=0.15, linewidth=0, label="10% to 90% of all")
    draw.lines(axes, series)
    axes.set(xlabel="step", ylabel=ylabel)
    draw.legend_above(axes)
    return Picture(figure, caption, f"{caption} {draw.ends_in_words(series)}.")
