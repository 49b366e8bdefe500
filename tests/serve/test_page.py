"""The page at / in a real browser (tests/browser.py)."""

from typing import Any

import httpx2
import pytest

from tests.browser import requested, screenshot
from tests.serve.conftest import LocalScorer
from tests.serve.test_engine import FP32_TOLERANCE
from wildreward.reward_model import RewardModel

WAIT_S = 30


def wait_for(browser: Any, css: str) -> Any:
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, WAIT_S).until(lambda driver: driver.find_elements("css selector", css))


def test_the_page_scores_and_compares_without_any_outside_asset(
    browser: Any, local_scorer: LocalScorer, model: RewardModel
) -> None:
    url = local_scorer()
    browser.get(url)
    browser.find_element("id", "send-score").click()
    shown = float(wait_for(browser, "#result-score .score")[0].get_attribute("data-score"))
    texts = [area.get_attribute("value") for area in browser.find_elements("css selector", "#messages textarea")]
    conversation = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=True)]
    assert shown == pytest.approx(model.score([conversation])[0].score, abs=FP32_TOLERANCE)
    assert len(browser.find_elements("css selector", "#result-score .bar")) == model.num_classes
    screenshot(browser, "score")

    browser.find_element("id", "tab-compare").click()
    browser.find_element("id", "send-compare").click()
    assert "%" in wait_for(browser, "#verdict")[0].text
    assert len(browser.find_elements("css selector", "#result-compare .score")) == 2
    screenshot(browser, "compare")

    assert all(address.startswith((url, "data:")) for address in requested(browser))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_shows_what_was_refused_and_asks_for_a_token(
    browser: Any, local_scorer: LocalScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.serve.test_guard import digests_of

    url = local_scorer(digests=digests_of(monkeypatch, "secret"))
    assert httpx2.get(f"{url}/v1/model").status_code == 401
    browser.get(url)
    browser.find_element("id", "send-score").click()
    assert "token" in wait_for(browser, "#result-score .error")[0].text
    browser.find_element("id", "token").send_keys("secret")
    browser.find_element("id", "send-score").click()
    assert wait_for(browser, "#result-score .score")

    for area in browser.find_elements("css selector", "#messages textarea"):
        area.clear()
    browser.find_element("id", "send-score").click()
    assert "empty" in wait_for(browser, "#result-score .error")[0].text
    screenshot(browser, "error")


def test_a_pasted_conversation_is_shown_as_text_and_never_as_markup(browser: Any, local_scorer: LocalScorer) -> None:
    browser.get(local_scorer())
    browser.find_element("id", "paste").click()
    pasted = '[{"role":"user","content":"<img src=x onerror=alert(1)>"},{"role":"assistant","content":"ok"}]'
    browser.find_element("id", "json").send_keys(pasted)
    browser.find_element("id", "use-json").click()
    browser.find_element("id", "send-score").click()
    assert wait_for(browser, "#result-score .score")
    assert browser.find_elements("css selector", "img") == []
    browser.find_element("id", "paste").click()
    browser.find_element("id", "json").send_keys(" nonsense")
    browser.find_element("id", "use-json").click()
    assert wait_for(browser, "#result-score .error")
