"""METRICS.md lists what the code registers, and the Grafana dashboard asks only for what is listed."""

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.metrics_document import (
    DASHBOARD,
    DOCUMENT,
    PANELS,
    RAYS_LABELS,
    SERVES_LABELS,
    Series,
    collect,
    dashboard_text,
    document,
)  # fmt: skip

AGAIN = "run: python -m tests.metrics_document"


@pytest.fixture(scope="module")
def series() -> list[Series]:
    return collect()


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def graphs(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_the_document_lists_every_series_with_type_labels_and_meaning(series: list[Series]) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(series), AGAIN
    assert len({item.name for item in series}) == len(series)
    assert all(item.meaning and "run_id" in item.labels for item in series)
    assert {item.stage for item in series} == set(PANELS)


def test_the_dashboard_is_the_one_the_panels_give() -> None:
    assert DASHBOARD.read_text(encoding="utf-8") == dashboard_text(), AGAIN


def test_every_expression_asks_for_listed_series_and_labels(series: list[Series], dashboard: dict[str, Any]) -> None:
    labels = {name: {*item.labels, *RAYS_LABELS} for item in series for name in item.exported}
    for item in series:
        if item.stage == "serve":
            labels |= {name: labels[name] | SERVES_LABELS for name in item.exported}
    for panel in graphs(dashboard):
        assert panel["targets"]
        for target in panel["targets"]:
            asked = re.findall(r"\bray_\w+", target["expr"])
            assert asked, target
            for name in asked:
                assert name in labels, f"{panel['title']}: {name}"
                used = re.findall(r"(\w+)=~?\"", target["expr"]) + re.findall(r"{{(\w+)}}", target["legendFormat"])
                used += [word for found in re.findall(r"by \(([^)]*)\)", target["expr"]) for word in found.split(", ")]
                assert set(used) <= labels[name], f"{panel['title']}: {used}"
            assert target["expr"].count("(") == target["expr"].count(")")
            kinds = {suffix: f"ray_.*{suffix}" for suffix in ("_total", "_bucket")}
            for suffix, pattern in kinds.items():  # a counter or a bucket says nothing without its rate
                assert len(re.findall(pattern, target["expr"])) <= target["expr"].count("rate("), suffix


def test_every_counter_gauge_and_histogram_is_on_the_dashboard_or_left_out_for_a_reason(
    series: list[Series], dashboard: dict[str, Any]
) -> None:
    text = " ".join(target["expr"] for panel in graphs(dashboard) for target in panel["targets"])
    asked = set(re.findall(r"ray_\w+", text))
    left_out = {
        "wildreward_label_cache_files_ignored",  # the run itself says it, with the files
        "wildreward_train_tokens",  # its rate is tokens_per_s
        "wildreward_serve_items",  # its rate is that of batch_items
        "wildreward_serve_batch_tokens",  # the same of tokens
        "wildreward_serve_model_info",  # always 1
        "wildreward_dpo_reward_margin",  # chosen less rejected, which are side by side
        "wildreward_dpo_eval_difference",  # of the held-out rewards, against the first
        "wildreward_dpo_pairs",  # what pairs_skipped leaves of prompts_per_step
        "wildreward_dpo_step_seconds",  # its parts are role_seconds
    }
    assert {item.name for item in series if not asked & set(item.exported)} == left_out


def test_grafana_can_import_it(dashboard: dict[str, Any]) -> None:
    """By the shape of the dashboards that Ray itself ships to Grafana: no key they do not have, but for what newer
    panels have in place of older ones."""
    from ray.dashboard.modules.metrics.grafana_dashboard_factory import generate_serve_grafana_dashboard

    theirs = json.loads(generate_serve_grafana_dashboard()[0])
    assert set(dashboard) <= set(theirs)
    known = {key for panel in theirs["panels"] for key in panel}
    variables = {key for variable in theirs["templating"]["list"] for key in variable}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        assert set(panel) - {"collapsed", "panels"} <= known
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    for variable in dashboard["templating"]["list"]:
        assert set(variable) <= variables
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = DASHBOARD.read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) == names
    for one, other in combinations([panel["gridPos"] for panel in dashboard["panels"]], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
