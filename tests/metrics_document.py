"""The list of all Prometheus series, and the Grafana dashboard made of them: both are written from the code.

    python -m tests.metrics_document      # writes wildreward/observability/METRICS.md and grafana.json anew

The series are those that the stages make when they report: their classes are built here, and what they register with
Ray is noted. tests/test_metrics_document.py keeps both files true.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from wildreward.cli import ROOT

FOLDER = ROOT / "wildreward" / "observability"
DOCUMENT, DASHBOARD = FOLDER / "METRICS.md", FOLDER / "grafana.json"
SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
RAYS_LABELS = frozenset({"SessionName", "NodeAddress", "WorkerId", "Component", "Version", "instance", "job", "le"})
SERVES_LABELS = frozenset({"application", "deployment", "replica"})


@dataclass(frozen=True)
class Series:
    """One metric as the code registers it."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]

    @property
    def stage(self) -> str:
        return self.name.split("_")[1]

    @property
    def exported(self) -> tuple[str, ...]:
        """Names at the Prometheus endpoint."""
        return tuple(f"ray_{self.name}{suffix}" for suffix in SUFFIXES[self.kind])


def makers() -> list[Callable[[], object]]:
    """What a stage builds when it begins to report."""
    from pipelines.judge_metrics import JudgeMetrics, RowMetrics
    from rl.ray_metrics import RayMetrics as DpoMetrics
    from serve.metrics import ServeMetrics
    from train.sinks import RayMetrics

    of_output = [lambda: RayMetrics("output"), lambda: DpoMetrics("output")]
    return [lambda: JudgeMetrics("judge"), RowMetrics, of_output[0], ServeMetrics, of_output[1]]


def collect() -> list[Series]:
    """Every series of ours, in the order of the code."""
    from ray.util.metrics import Metric

    found: list[Series] = []
    register = Metric.__init__

    def noted(metric: Any, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        found.append(Series(name, type(metric).__name__, description, tuple(tag_keys or ())))
        register(metric, name, description, tag_keys)

    made = makers()  # imported before, so that their own classes are built with the patch
    with patch.object(Metric, "__init__", noted):
        for make in made:
            make()
    return found


HEAD = """# Metrics

Prometheus series of every stage, at Ray's metrics port of each node (`ray start --metrics-export-port`; targets for
Prometheus: `/tmp/ray/prom_metrics_service_discovery.json` on the head). Written from the code by
`python -m tests.metrics_document`; a test keeps it true. `grafana.json` beside it is a dashboard of these series:
Grafana, Dashboards, New, Import.

`run_id` is the run's id: in JSON logs, `summary.json`, `done.json` and a pipeline's `manifest.json`. Ray adds
`NodeAddress`, `WorkerId`, `SessionName`, `Component` and `Version`; Ray Serve adds `application`, `deployment` and
`replica` to the series of `serve`. A histogram has `_bucket` (label `le`), `_sum` and `_count`. Counters begin at 0 in
each process: take `rate()` or `increase()`, and `sum()` over workers.
"""


def document(series: Sequence[Series]) -> str:
    lines = [HEAD]
    for stage in dict.fromkeys(item.stage for item in series):
        lines += [f"## {stage}", "", "| name | type | labels | meaning |", "| --- | --- | --- | --- |"]
        for item in series:
            if item.stage == stage:
                name = f"ray_{item.name}" + ("_total" if item.kind == "Counter" else "")
                labels = ", ".join(f"`{label}`" for label in item.labels)
                lines.append(f"| `{name}` | {item.kind.lower()} | {labels} | {item.meaning} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class Panel:
    """A graph: (expression, legend) of each line. `$run` stands for the chosen runs."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def rate(name: str, by: str) -> tuple[str, str]:
    return f"sum by ({by}) (rate(ray_wildreward_{name}_total{{$run}}[1m]))", f"{{{{{by}}}}}"


def quantiles(name: str, labels: str = "") -> tuple[tuple[str, str], ...]:
    by = f"le, {labels}" if labels else "le"
    legend = f" {{{{{labels}}}}}" if labels else ""
    rates = f"sum by ({by}) (rate(ray_wildreward_{name}_bucket{{$run}}[1m]))"
    return tuple((f"histogram_quantile({q}, {rates})", f"p{q[2:]}{legend}") for q in ("0.50", "0.95", "0.99"))


def mean(name: str) -> tuple[str, str]:
    top, bottom = (f"sum(rate(ray_wildreward_{name}_{part}{{$run}}[1m]))" for part in ("sum", "count"))
    return f"{top} / {bottom}", "mean"


def gauge(name: str, legend: str = "{{run}}") -> tuple[str, str]:
    return f"ray_wildreward_{name}{{$run}}", legend


REWARDS = ("mean", "chosen", "rejected")

PANELS: Mapping[str, Sequence[Panel]] = {
    "label": (
        Panel("Turns judged", "ops", (rate("label_turns_judged", "outcome"),)),
        Panel("Requests to the judge", "reqps", (rate("label_requests", "question"),)),
        Panel("Answers from the cache", "ops", (rate("label_cache_hits", "question"),)),
        Panel("From question to answer", "s", quantiles("label_latency_seconds", "question")),
        Panel("Tokens of the judge", "ops", (rate("label_tokens", "kind"),)),
        Panel("Retries", "ops", (rate("label_retries", "reason"),)),
        Panel("Questions without an answer", "ops", (rate("label_errors", "reason"),)),
        Panel("Rows kept and dropped", "ops", (rate("label_rows", "outcome"),)),
    ),
    "train": (
        Panel("Loss", "none", (gauge("train_loss"),)),
        Panel("Validation", "none", (gauge("train_validation", "{{metric}} {{run}}"),)),
        Panel("Steps", "none", (gauge("train_step"),)),
        Panel("Tokens a second", "none", (gauge("train_tokens_per_s"),)),
        Panel("Gradient norm before clipping", "none", (gauge("train_grad_norm"),)),
        Panel("Learning rate", "sci", (gauge("train_lr"),)),
        Panel("Padding", "percentunit", (gauge("train_padding_frac"),)),
        Panel("Share of peak FLOPs", "percentunit", (gauge("train_mfu"),)),
    ),
    "serve": (
        Panel("Answers", "reqps", (rate("serve_requests", "status"),)),
        Panel("From arrival to answer", "s", quantiles("serve_request_seconds")),
        Panel("Refused", "reqps", (rate("serve_refused", "reason"),)),
        Panel("Requests inside", "none", (("sum by (replica) (ray_wildreward_serve_in_flight{$run})", "{{replica}}"),)),
        Panel("Wait for a batch", "s", quantiles("serve_queue_wait_seconds")),
        Panel("One batch in the model", "s", quantiles("serve_model_seconds")),
        Panel("Texts in a batch", "none", (mean("serve_batch_items"),)),
        Panel("Tokens scored", "ops", (rate("serve_tokens", "application"),)),
    ),
    "dpo": (
        Panel("Reward", "none", tuple(gauge(f"dpo_reward_{of}", f"{of} {{{{run}}}}") for of in REWARDS)),
        Panel("Held-out reward", "none", (gauge("dpo_eval_reward", "{{scorer}} {{run}}"),)),
        Panel("Win rate against the start", "percentunit", (gauge("dpo_eval_win_rate", "{{scorer}} {{run}}"),)),
        Panel("KL to the reference", "none", (gauge("dpo_kl"),)),
        Panel("Steps", "none", (gauge("dpo_step"),)),
        Panel("Spread of the rewards", "none", (gauge("dpo_reward_std"),)),
        Panel("Loss", "none", (gauge("dpo_loss"),)),
        Panel("Gradient norm before clipping", "none", (gauge("dpo_grad_norm"),)),
        Panel("Learning rate", "sci", (gauge("dpo_lr"),)),
        Panel("Versions behind", "none", (gauge("dpo_staleness"),)),
        Panel("Implicit accuracy", "percentunit", (gauge("dpo_implicit_accuracy"),)),
        Panel("Entropy", "none", (gauge("dpo_entropy"),)),
        Panel("Length of completions", "none", (gauge("dpo_completion_tokens"),)),
        Panel("Completions cut off", "percentunit", (gauge("dpo_cut_off_frac"),)),
        Panel("Prompts without a pair", "ops", (rate("dpo_pairs_skipped", "reason"),)),
        Panel("Completions without a score", "ops", (rate("dpo_scores_failed", "run"),)),
        Panel("Seconds of a step, by role", "s", (gauge("dpo_role_seconds", "{{role}} {{run}}"),)),
        Panel("Tokens a second, by role", "none", (gauge("dpo_role_tokens_per_s", "{{role}} {{run}}"),)),
    ),
}

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 6, 7, 4


def dashboard() -> dict[str, Any]:
    """As Grafana imports it (schema version 39, Grafana 10.4 and newer)."""
    panels: list[dict[str, Any]] = []
    top = 0
    for stage, graphs in PANELS.items():
        place = {"x": 0, "y": top, "w": WIDTH * COLUMNS, "h": 1}
        row = {"type": "row", "id": len(panels) + 1, "title": stage, "gridPos": place}
        panels.append(row | {"collapsed": False, "panels": []})
        top += 1
        for number, graph in enumerate(graphs):
            x, y = number % COLUMNS * WIDTH, top + number // COLUMNS * HEIGHT
            panels.append(_graph(graph, len(panels) + 1, {"x": x, "y": y, "w": WIDTH, "h": HEIGHT}))
        top += -(-len(graphs) // COLUMNS) * HEIGHT
    return {
        "title": "wildreward", "uid": "wildreward", "tags": ["ray", "wildreward"], "schemaVersion": 39, "version": 1,
        "editable": True, "graphTooltip": 1, "refresh": "10s", "timezone": "", "time": {"from": "now-1h", "to": "now"},
        "timepicker": {}, "links": [], "annotations": {"list": []}, "templating": {"list": _variables()},
        "panels": panels,
    }  # fmt: skip


def _graph(graph: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": _of_run(query), "legendFormat": legend}
        for at, (query, legend) in enumerate(graph.queries)
    ]
    return {
        "type": "timeseries", "id": number, "title": graph.title, "datasource": SOURCE, "gridPos": place,
        "fieldConfig": {"defaults": {"unit": graph.unit}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }  # fmt: skip


def _of_run(query: str) -> str:
    return query.replace("$run", 'run_id=~"$run"')


def _variables() -> list[dict[str, Any]]:
    source = {
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1,
        "hide": 0, "includeAll": False, "multi": False, "options": [], "regex": "", "current": {}, "skipUrlSync": False,
    }  # fmt: skip
    runs = 'label_values({__name__=~"ray_wildreward_.+"}, run_id)'
    run = {
        "name": "run", "label": "run", "type": "query", "datasource": SOURCE, "definition": runs,
        "query": {"query": runs, "refId": "runs"}, "refresh": 2, "hide": 0, "includeAll": True, "allValue": ".*",
        "multi": True, "options": [], "regex": "", "sort": 2, "skipUrlSync": False,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }  # fmt: skip
    return [source, run]


def dashboard_text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path, text in ((DOCUMENT, document(collect())), (DASHBOARD, dashboard_text())):
        Path(path).write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
