"""The report shows what the summary says, and samples as text."""

from pathlib import Path
from typing import Any

from tests.browser import requested, screenshot
from tests.wildreward.test_funnel import row, small_funnel, turn
from wildreward.funnel import Funnel
from wildreward.label_report import MAX_GROUPS, class_rows, funnel_counts, label_report, outcomes
from wildreward.scale import FOUR_CLASSES

NASTY = "<script>document.title = 'run'</script><img src=https://example.com/x.png> \u202eright to left 你好"


def summary(funnel: Funnel | None = None) -> dict[str, Any]:
    return (funnel or small_funnel()).check().summary() | {"seconds": {"feedback": 1.0, "rows": 0.5}}


def page(funnel: Funnel, **more: Any) -> str:
    return label_report(summary(funnel) | more, FOUR_CLASSES, funnel.timeline, funnel.samples).html()


def test_outcomes_of_a_level_add_up_to_what_came_in() -> None:
    found = outcomes(summary())
    for level in ("conversations", "turns", "rows"):
        counts = {outcome: count for name, outcome, count in found if name == level}
        assert counts.pop("in") == sum(counts.values())
    assert ("messages", "skipped: null_content", 1) in found


def test_each_step_of_the_funnel_is_within_the_one_before() -> None:
    assert funnel_counts(summary()) == {
        "conversations in": 3,
        "conversations with a turn": 1,
        "turns": 3,
        "turns labelled": 2,
        "rows kept": 1,
    }


def test_classes_before_and_after_refinement_and_filters_are_those_of_their_levels() -> None:
    found = summary() | {"classes": {"1": 1}}
    found["levels"] = {
        "judged": {"1": 4, "2": 0, "3": 9, "4": 1, "5": 2},
        "refined": {"1": 3, "2": 0, "3": 7, "4": 1, "5": 5},
    }
    rows = list(class_rows(found, FOUR_CLASSES))
    assert rows == [("1", 4, 3, 1), ("2", 0, 0, 0), ("3", 1, 1, 0), ("4", 2, 5, 0), ("none", 9, 7, 0)]


def test_the_page_is_self_contained_with_its_pictures_and_bounds_its_groups() -> None:
    many = {f"模型 {number}": {"turns": 100 - number, "judged_3": 1, "rows": 1} for number in range(2 * MAX_GROUPS)}
    made = page(small_funnel(), by_model=many)
    assert made.count("data:image/png;base64,") == 6
    assert "http" not in made
    assert f"模型 {MAX_GROUPS - 1}" in made
    assert f"模型 {MAX_GROUPS}" not in made
    assert "all others" in made


def test_errors_and_retries_are_shown_with_their_rates() -> None:
    session = {"requests": 8, "answers": 6, "retries_http_500": 2, "reasks": 3}
    made = page(small_funnel(), judge_session=session)
    assert "<td>feedback</td><td>timeout</td>" in made
    assert all(rate in made for rate in ("33.33%", "25.00%", "50.00%"))


def test_without_samples_no_word_of_a_user_is_on_the_page() -> None:
    funnel = Funnel()
    funnel.merge(small_funnel())
    funnel.samples = type(funnel.samples)()
    assert "b" * 100 not in page(funnel)
    assert "b" * 100 in page(small_funnel())


def test_the_page_is_browsed_from_a_file_and_shows_users_words_as_text(browser: Any, tmp_path: Path) -> None:
    funnel = small_funnel()
    nasty = row(2) | {"id": "nasty/0", "follow_up": NASTY, "model": "<b>m</b>"}
    funnel.rows_in += 1
    funnel.labelled += 1
    funnel.turns_in += 1
    funnel.train += 1
    funnel._add_turn(turn(2), nasty)
    funnel.turns_in -= 1
    funnel.labelled -= 1
    funnel.refined(2, nasty)
    funnel.keep(nasty, "[[2]] an error")
    (tmp_path / "report.html").write_text(page(funnel), encoding="utf-8")
    requested(browser)  # by the tests before
    browser.get(f"file://{tmp_path}/report.html")
    folded = browser.find_elements("css selector", "details")
    assert [item.find_element("css selector", "summary").text for item in folded] == [
        "level 1 rejection (1)",
        "level 2 error correction (1)",
        "dropped: neutral (1)",
    ]
    assert not folded[1].find_element("css selector", "blockquote").is_displayed()
    folded[1].find_element("css selector", "summary").click()
    said = {
        quote.find_element("tag name", "b").text: quote for quote in folded[1].find_elements("tag name", "blockquote")
    }
    assert said["follow-up"].is_displayed()
    assert said["follow-up"].find_element("tag name", "pre").get_attribute("textContent") == NASTY
    assert said["judge"].find_element("tag name", "pre").text == "[[2]] an error"
    assert browser.title == "WildFB labels"
    assert all(image.get_property("naturalWidth") > 0 for image in browser.find_elements("tag name", "img"))
    assert {address.split(":")[0] for address in requested(browser)} == {"file", "data"}
    screenshot(browser, "label_report")
