"""A DPO run at Ray's Prometheus endpoint and in the dashboard: `ray_wildreward_dpo_...`, its output as the tag `run`.

Ray serves each name with `ray_` before it and, for counters, `_total` after it. It forgets a gauge that is not set for
some seconds, and a step may take minutes: a thread sets the last values again.
"""

import threading
from collections.abc import Mapping
from typing import Any

from wildreward.logs import RUN_TAG, of_run

PREFIX = "wildreward_dpo"
BEAT_S = 1.0

GAUGES = {
    "step": ("step", "Optimiser steps done"),
    "reward_mean": ("reward/mean", "Mean reward of the last step's completions"),
    "reward_std": ("reward/std", "Standard deviation of the last step's rewards"),
    "reward_chosen": ("reward/chosen", "Mean reward of the chosen completions"),
    "reward_rejected": ("reward/rejected", "Mean reward of the rejected completions"),
    "reward_margin": ("reward/margin", "Mean reward of chosen minus rejected completions"),
    "loss": ("loss", "Loss of the last step"),
    "implicit_accuracy": ("implicit/accuracy", "Share of pairs whose chosen completion the policy's ratio favours"),
    "kl": ("kl", "KL to the reference, nats per completion"),
    "entropy": ("entropy", "Entropy of the policy, nats per token"),
    "completion_tokens": ("completion/tokens", "Mean length of the last step's completions"),
    "cut_off_frac": ("completion/cut_off_frac", "Share of completions cut at max_new_tokens"),
    "staleness": ("staleness", "Versions between the weights that wrote and those that learned"),
    "grad_norm": ("grad_norm", "Norm of the last step's gradient before it is clipped"),
    "lr": ("lr", "Learning rate of the last step"),
    "step_seconds": ("seconds/step", "Seconds of the last step"),
}
"""Name after the prefix: the measure in metrics.jsonl, and what it is."""

TAGGED = {
    "role_seconds": ("seconds/", "role", "Seconds each role worked in the last step, summed over its actors"),
    "role_tokens_per_s": ("tokens_per_s/", "role", "Tokens per second of each role in the last step"),
}
EVALUATED = {"reward": "Mean reward", "difference": "Mean reward minus the start's", "win_rate": "Share of prompts won"}
COUNTERS = {
    "pairs": "Pairs learned from since this process began",
    "pairs_skipped": "Prompts without a pair since this process began, by reason",
    "scores_failed": "Completions without a score since this process began",
}


class RayMetrics:
    """Gauges and counters of one run."""

    def __init__(self, output: str) -> None:
        from ray.util.metrics import Counter, Gauge

        def gauge(name: str, meaning: str, *tags: str) -> Any:
            return of_run(Gauge(f"{PREFIX}_{name}", meaning, tag_keys=("run", RUN_TAG, *tags)))

        def counter(name: str, meaning: str) -> Any:
            tags = ("reason",) if name == "pairs_skipped" else ()
            return of_run(Counter(f"{PREFIX}_{name}", meaning, tag_keys=("run", RUN_TAG, *tags)))

        self._run = {"run": output}
        self._gauges = {name: gauge(name, meaning) for name, (_, meaning) in GAUGES.items()}
        self._tagged = {name: gauge(name, meaning, tag) for name, (_, tag, meaning) in TAGGED.items()}
        self._evaluated = {
            name: gauge(f"eval_{name}", f"{meaning} on the held-out prompts, by scorer", "scorer")
            for name, meaning in EVALUATED.items()
        }
        self._counters = {name: counter(name, meaning) for name, meaning in COUNTERS.items()}
        self._values: dict[str, Any] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="wildreward-dpo-metrics", daemon=True)

    def step(self, values: Mapping[str, Any]) -> None:
        """Take in a step's measures."""
        for name in ("pairs", "scores_failed"):
            if values[name]:
                self._counters[name].inc(values[name], self._run)
        for name, value in values.items():
            if name.startswith("skipped/") and value:
                self._counters["pairs_skipped"].inc(value, self._run | {"reason": name.removeprefix("skipped/")})
        self._keep(values)

    def evaluation(self, values: Mapping[str, Any]) -> None:
        self._keep(values)

    def _keep(self, values: Mapping[str, Any]) -> None:
        self._values = {**self._values, **values}  # a new mapping: the thread may be reading the old one
        self._set()
        if not self._thread.is_alive():
            self._thread.start()

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            self._set()

    def _set(self) -> None:
        values = self._values
        for name, (key, _) in GAUGES.items():
            if key in values:
                self._gauges[name].set(values[key], self._run)
        for name, (start, tag, _) in TAGGED.items():
            for key, value in values.items():
                if key.startswith(start):
                    self._tagged[name].set(value, self._run | {tag: key.removeprefix(start)})
        for scorer, start in (("reward", "eval"), ("second", "eval/second")):
            for name, gauge in self._evaluated.items():
                if f"{start}/{name}" in values:
                    gauge.set(values[f"{start}/{name}"], self._run | {"scorer": scorer})

    def close(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
