"""What a sweep is reported as: which settings matter, how sure that is, and pictures of it."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.browser import requested, screenshot
from wildreward.search_space import parse, trials
from wildreward.sweep_importance import importances
from wildreward.sweep_pictures import ABSENT, parallel_coordinates
from wildreward.sweep_report import SweepFacts, SweepReport, build

SPACE: dict[str, Any] = {
    "head": {"choice": ["coral", "corn", "independent"]},
    "cutpoint_start": {"choice": ["frequencies", "even"]},
    "lr": {"loguniform": [1e-5, 1e-3]},
    "threshold_weights": {"choice": ["none", "balanced", [1.0, 2.0, 1.0]]},
}


def rows(count: int, effect: float = 1.0) -> list[dict[str, Any]]:
    """A metric that depends on lr, a little on the head, and on nothing else."""
    rng = random.Random(0)
    made = []
    for place, trial in enumerate(trials(parse(SPACE), {}, count, seed=0)):
        value = 0.6 + effect * (0.1 * (trial["lr"] > 1e-4) + 0.02 * (trial["head"] == "coral")) + rng.gauss(0, 0.005)
        varied = {name: trial.get(name) for name in SPACE}
        made.append({"trial": f"t{place:03d}", **varied, "step": 10, "auc": value, "state": "finished", "error": None})
    return sorted(made, key=lambda row: -row["auc"])


def test_the_setting_that_matters_is_found_and_one_that_does_not_is_not() -> None:
    found = importances(parse(SPACE), rows(30), "auc")
    assert found is not None
    assert found.settings[0].name == "lr"
    assert found.settings[0].low > 0
    assert found.skill > 0.5
    assert all(one.low <= 0 for one in found.settings if one.name == "threshold_weights")


def test_where_nothing_matters_it_says_that_the_numbers_mean_nothing() -> None:
    found = importances(parse(SPACE), rows(12, effect=0.0), "auc")
    assert found is not None
    assert found.skill <= 0
    assert "mean nothing" in found.text


def test_few_trials_give_no_importances() -> None:
    assert importances(parse(SPACE), rows(7), "auc") is None


def facts(count: int) -> SweepFacts:
    made = rows(count)
    failed = {**made[-1], "trial": "t999", "auc": None, "state": "failed", "error": "FloatingPointError: <nan>"}
    best = {name: made[0][name] for name in SPACE if made[0][name] is not None}
    return SweepFacts("auc", "max", parse(SPACE), [*made, failed], best, "runs/tune")


@pytest.fixture(scope="module")
def page() -> SweepReport:
    return build(facts(12))


def test_the_page_names_the_best_and_the_failed_and_holds_its_pictures(page: SweepReport) -> None:
    made = page
    assert sorted(made.pictures) == ["importance.png", "parallel_coordinates.png"]
    assert all(picture.startswith(b"\x89PNG") for picture in made.pictures.values())
    assert "12 finished, 0 stopped early by ASHA, 1 failed" in made.html
    assert "FloatingPointError: &lt;nan&gt;" in made.html
    assert "wildreward train --config runs/tune/best.yaml" in made.html


def test_a_sweep_of_one_trial_has_a_page_too() -> None:
    made = build(facts(1))
    assert list(made.pictures) == ["parallel_coordinates.png"]
    assert "Not computed: it needs 8 trials" in made.html


def test_a_browser_shows_the_pictures_and_asks_for_nothing(page: SweepReport, browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page.html)
    browser.set_window_size(1100, 2600)
    browser.get(path.as_uri())
    sizes = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(sizes) == 2
    assert min(sizes) > 500
    width = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    assert {address.partition(":")[0] for address in requested(browser)} <= {"file", "data"}
    screenshot(browser, "sweep_report")


@pytest.mark.parametrize("missing", ["lr", "cutpoint_start"])
def test_a_setting_that_no_trial_used_is_drawn_as_absent(missing: str) -> None:
    figure = parallel_coordinates(parse(SPACE), [{**row, missing: None} for row in rows(3)], "auc", True)
    assert ABSENT in [text.get_text() for text in figure.axes[0].texts]
