"""report.html: one page that needs nothing else, with every set, and pictures by what a set has."""

import html
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser import requested, screenshot
from tests.wildreward.benchmarks.sets import QUICK, made, scalar, score
from wildreward.benchmarks.evaluation_set import EvaluationSet, SetResult
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.pairs import Pairs
from wildreward.benchmarks.rated import Rated
from wildreward.benchmarks.wildfb import WildFB
from wildreward.evaluation import evaluate
from wildreward.evaluation_report import report_html
from wildreward.evaluation_report_pictures import pictures
from wildreward.scorer import Conversation

SECRET = "a text that must not leave"
REPLIES = [f"{SECRET}\n" + "- a point\n" * (i % 5) + "**more** words " * (i % 7) for i in range(48)]
NAMES = ("my/pairs", "my/rated", "my/wildfb")


def _sets() -> list[EvaluationSet]:
    pairs = [
        {"id": str(i), "subset": "ab"[i % 2], "prompt": SECRET, "chosen": REPLIES[i], "rejected": REPLIES[i - 1]}
        for i in range(48)
    ]
    rated = [
        {
            "conversation_hash": str(i // 2),
            "prompt": SECRET,
            "response": reply,
            "rating": i % 5 + 1,
            "preferred": i % 2 == 0,
        }
        for i, reply in enumerate(REPLIES)
    ]
    rows: list[dict[str, Any]] = []
    for i, reply in enumerate([*REPLIES, " "]):
        messages = [{"role": "user", "content": SECRET}, {"role": "assistant", "content": reply}]
        rows.append({"id": str(i), "messages": messages, "label": i % 4 + 1})
    sets = [made(Pairs, pairs), made(Rated, rated), made(WildFB, rows)]
    for name, found in zip(NAMES, sets, strict=True):
        found.name = name
    return sets


def _probabilities(conversations: list[Conversation]) -> list[Any]:
    tops = [1 / (1 + math.exp(-(len(messages[-1]["content"]) - 80) / 40)) for messages in conversations]
    return [score(1 + 3 * top, (1 - top, 0.0, 0.0, top)) for top in tops]


def _scalars(conversations: list[Conversation]) -> list[Any]:
    return [scalar(-float(len(messages[-1]["content"]))) for messages in conversations]


@pytest.fixture(scope="module")
def page() -> str:
    return report_html(evaluate(_sets(), _probabilities, QUICK), {"checkpoint": "x"}, QUICK)


def _images(page: str) -> list[str]:
    return [html.unescape(alt) for alt in re.findall(r'<img alt="([^"]*)"', page)]


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert not re.search(r"https?://", page)
    assert not re.search(r"<script|<link|<iframe|@import|url\(", page)
    sources = re.findall(r'\b(?:src|href|srcset)="([^"]{0,30})', page)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_every_set_is_at_a_glance_with_interval_baseline_and_verdict(page: str) -> None:
    glance = page[page.index("At a glance") : page.index("Rows that could not be used")]
    for name in NAMES:
        assert f"<td>{name}</td>" in glance
        assert f"<h2>{name} (" in page
    for wanted in ("accuracy", "preference accuracy", "better than chance", "no different from length", "["):
        assert wanted in glance
    assert '<td>my/wildfb</td><td>empty_response</td><td class="number">1</td><td class="number">49</td>' in page


def test_no_text_of_the_data_is_on_the_page(page: str) -> None:
    assert SECRET not in page


def test_pictures_say_in_words_what_they_show(page: str) -> None:
    alts = _images(page)
    for wanted in (
        "Margins. 48 margins between",
        "Margin against accuracy, in bins of equally many pairs. model: ",
        "Coverage: accuracy when only the surest share is answered. model: ",
        "Reliability of the preference probability. ",
        "Length bias: accuracy by which reply is longer. all pairs (48): ",
        "Format bias: accuracy by the markdown of the better reply. more list items (",
        "Score of the reply with more of it",
        "Accuracy of subsets, the lowest first: 2 of 2. ",
        "The users' choices. Margins. 24 margins between",
        "Mean rating in bins",
        "Mean score of the replies with each rating. ",
        "Scores. rating 1, rating 2, rating 3, rating 4, rating 5, between",
        "Predicted against true class, in counts. class 1: ",
        "Reliability of each threshold. class > 1: ",
    ):
        assert [alt for alt in alts if alt.startswith(wanted)], wanted
    assert all(len(alt) > 20 for alt in alts)
    assert page.count("<figcaption>") == len(alts)


def test_the_lowest_subset_is_named_beside_its_accuracy(page: str) -> None:
    assert re.search(r"min subset accuracy \([ab]\)", page)


def test_position_is_said_not_to_matter(page: str) -> None:
    assert "replies are scored one reply at a time, and 48 of 48 pairs are decided alike in both orders" in page


def test_a_scalar_model_has_a_page_without_what_needs_probabilities() -> None:
    alts = [
        picture.alt for _, result in evaluate(_sets(), _scalars, QUICK).results.values() for picture in pictures(result)
    ]
    assert [alt for alt in alts if alt.startswith("Mean score of the replies of each class.")]
    assert not [alt for alt in alts if "Reliability of each" in alt or "Predicted against" in alt]


class Bare(Rated):
    """A kind that the report has never heard of, with one curve and one histogram."""

    kind = "bare"

    def measure(self, options: MeasureOptions) -> SetResult:
        point = {"x": 0.5, "count": 3, "value": 0.7, "low": None, "high": None}
        curves = {"accuracy_by_margin": {"model": [point]}, "unknown_to_the_report": {"model": [point]}}
        margins = {"edges": [-1.0, 0.0, 1.0], "series": {"margin": [1, 2]}}
        return SetResult({}, (), extra={"curves": curves, "histograms": {"margin": margins}})


def test_a_new_kind_has_the_pictures_of_what_it_has() -> None:
    found = made(Bare, [{"prompt": "q", "response": "a", "rating": 1}])
    [margins, by_margin] = pictures(evaluate([found], _scalars, QUICK).results["set"][1])
    assert margins.alt.startswith("Margins. 3 margins")
    assert by_margin.alt.startswith("Margin against accuracy")


def test_values_without_intervals_make_a_page_too() -> None:
    few = made(Pairs, [{"id": "1", "prompt": "q", "chosen": "a", "rejected": "b"}])

    def equal(conversations: list[Conversation]) -> list[Any]:
        return [score(2.0) for _ in conversations]

    options = MeasureOptions(replicates=0)
    page = report_html(evaluate([few], equal, options), {}, options)
    assert "too few to compare with chance" in page
    assert "nan" not in re.sub(r'src="[^"]*"', "", page)


@pytest.mark.parametrize(("width", "columns"), [(1100, 2), (500, 1)])
def test_a_browser_shows_every_picture_within_the_window(
    page: str, browser: Any, tmp_path: Path, width: int, columns: int
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    requested(browser)
    browser.set_window_size(width, 1000)
    browser.get(path.as_uri())
    assert {address for address in requested(browser) if not address.startswith("data:")} == {path.as_uri()}
    images = browser.find_elements("css selector", "figure img")
    assert len(images) == len(_images(page))
    assert all(image.get_property("naturalWidth") > 0 for image in images)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    lefts = {round(image.rect["x"]) for image in images}
    assert len(lefts) == columns
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    screenshot(browser, f"evaluation-{width}")
