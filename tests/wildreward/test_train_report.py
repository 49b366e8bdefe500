"""The report of a training run, and the calibration in it: what it says, what it draws, what lies in figures/."""

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import requested, screenshot
from tests.wildreward.test_calibration_fit import TRAINED, simulated
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.calibration_report import write_report
from wildreward.calibration_rows import Calibrated, Rows, calibrated
from wildreward.train_report import MAX_POINTS, train_report

OPTIONS = MeasureOptions(replicates=50)
DESCRIBED: Mapping[str, Any] = {
    "checkpoint": "/data/my runs/train/checkpoint",
    "best_step": 20,
    "last_step": 30,
    "total_steps": 30,
    "training_rows": 1210,
    "training_labels": {1: 10, 2: 800, 4: 400},
    "validation_rows": 300,
    "validation": {"mae": 0.51234, "spearman": None},
    "selected_by": "mae",
}
SETTINGS = {"input": ["/data/label"], "lr": 1e-4}


def measured(rows: int, skip: str | None = None) -> Calibrated:
    logits_NK, labels_N = simulated("coral", rows)
    names = [f"c{i // 2}" for i in range(rows)]
    return calibrated("coral", Rows(logits_NK, labels_N, names, "rows of a test"), TRAINED.tolist(), OPTIONS, skip)


def history() -> Iterator[dict[str, Any]]:
    for step in range(1, 31):
        yield {"kind": "train", "step": step, "loss": 2 / step, "lr": 1e-4, "grad_norm": 1.0, "tokens_per_s": 100.0}
        if step % 10 == 0:
            metrics = {"loss": 1 / step, "mae": 0.5, "pairwise": 0.7, "qwk": 0.4, "accuracy": 0.5}
            spearman = 0.5 if step > 10 else None  # undefined as long as all scores are alike
            yield {"kind": "validation", "step": step, "spearman": spearman, **metrics}


@pytest.fixture(scope="module")
def found() -> Calibrated:
    return measured(400)


@pytest.fixture(scope="module")
def output(found: Calibrated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(str(folder), train_report(DESCRIBED, list(history()), SETTINGS, found.calibration, found))
    return folder


def test_errors_after_are_cross_fitted_and_smaller_with_their_difference(found: Calibrated) -> None:
    facts = found.calibration.facts
    nll = found.metrics["nll"]
    assert nll.estimate.value == pytest.approx(facts["nll"]["after"])
    assert nll.baselines["before"].estimate.value == pytest.approx(facts["nll"]["before"])
    assert nll.baselines["before"].difference.side_of(0) == -1
    assert facts["ece_above"]["after"] == [found.metrics[f"ece_above_{k}"].estimate.value for k in (1, 2, 3)]
    assert np.mean(facts["ece_above"]["after"]) < np.mean(facts["ece_above"]["before"])


def test_rankings_and_margins_are_of_the_score(found: Calibrated) -> None:
    assert found.metrics["auc"].against_chance == "better than chance"
    margin = [point["value"] for point in found.curves["accuracy_by_margin"]["model"]]
    coverage = [point["value"] for point in found.curves["accuracy_by_coverage"]["model"]]
    assert margin[-1] > margin[0]
    assert coverage[0] > coverage[-1]


def test_the_page_says_where_things_are_and_what_to_type_next(output: Path) -> None:
    page = html.unescape((output / "report.html").read_text())
    assert (
        "wildreward serve <span>--checkpoint</span> '/data/my runs/train/checkpoint' <span>--port</span> 8000" in page
    )
    assert "temperature and cutpoints, T = 1." in page
    assert "400 rows of 200 conversations: rows of a test." in page
    assert "cross-fitted: each row by parameters fitted on the other 4 of 5 folds" in page
    assert re.search(r"ECE of P\(class > 3\)</td><td class=\"number\">400</td><td class=\"figure\">0\.\d+ \[", page)
    assert re.search(r"AUC 0\.\d+ \[0\.\d+, 0\.\d+\]", page)
    assert "<td>lr</td>" in page
    assert '<td>validation mae</td><td class="figure">0.5123</td>' in page
    assert "<td>validation spearman</td><td>undefined</td>" in page
    assert not re.search(r"https?://|<script|<link|url\(", page)


def test_every_picture_is_a_file_and_says_in_words_what_it_shows(output: Path) -> None:
    names = {path.stem for path in (output / "figures").glob("*.png")}
    assert names == {
        "classes", "loss", "ranking", "error", "learning_rate", "gradient_norm", "speed", "ece", "reliability_above_1",
        "reliability_above_2", "reliability_above_3", "accuracy_by_margin", "accuracy_by_coverage", "scores_by_class",
    }  # fmt: skip
    assert (output / "figures" / "loss.png").read_bytes().startswith(b"\x89PNG")
    alts = re.findall(r'<img alt="([^"]*)"', (output / "report.html").read_text())
    assert len(alts) == len(names)
    assert [alt for alt in alts if "training: 2 at step 1, 0.06667 at step 30; validation: 0.1 at step 10" in alt]
    assert [alt for alt in alts if "spearman: 0.5 at step 20, 0.5 at step 30" in alt]
    assert [alt for alt in alts if alt.startswith("Calibration error. before calibration: class &gt; 1 0.")]


def test_where_nothing_was_fitted_the_page_says_why_and_shows_the_model_as_trained() -> None:
    found = measured(60)
    assert found.calibration.reason == "30 conversations; at least 50 are needed"
    report = train_report(DESCRIBED, [], SETTINGS, found.calibration, found)
    page = report.html()
    assert "There is no calibration: 30 conversations; at least 50 are needed." in page
    assert {"reliability_of_thresholds", "ece"} <= set(report.images)
    asked = measured(60, skip="it was not asked for")
    assert asked.calibration.reason == "it was not asked for"
    alone = train_report(DESCRIBED, [], SETTINGS, asked.calibration, None)
    assert set(alone.images) == {"classes"}
    assert "There is no calibration: it was not asked for." in alone.html()


def test_a_long_run_is_drawn_from_some_of_its_steps() -> None:
    from wildreward.train_report import _points

    lines = [{"kind": "train", "step": step, "loss": 1.0} for step in range(10 * MAX_POINTS + 3)]
    points = list(_points(lines, "train/loss"))
    assert len(points) <= MAX_POINTS + 1
    assert points[-1][0] == 10 * MAX_POINTS + 2


@pytest.mark.parametrize("width", [1100, 390])
def test_the_page_fits_a_desktop_and_a_phone(browser: Any, output: Path, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        requested(browser)
        browser.get((output / "report.html").as_uri())
        screenshot(browser, f"train_report_{width}")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        widths = browser.execute_script("return [...document.images].map(image => image.getBoundingClientRect().width)")
        assert len(widths) == 14
        assert all(0 < found < 0.6 * width if width > 1000 else found > 0.8 * width for found in widths)
        assert all(address.startswith(("file:", "data:")) for address in requested(browser))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
