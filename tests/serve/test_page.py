"""The page at / and the one at /docs, in a real browser (tests/browser.py)."""

import json
import subprocess
from typing import Any

import httpx2
import pytest

from serve import status
from tests.browser import requested, screenshot
from tests.serve.conftest import LocalScorer
from tests.serve.test_engine import FP32_TOLERANCE
from wildreward.preference import probability_better
from wildreward.reward_model import RewardModel

WAIT_S = 30


def wait_for(browser: Any, css: str) -> Any:
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, WAIT_S).until(lambda driver: driver.find_elements("css selector", css))


def wait_for_text(browser: Any, name: str, text: str) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, WAIT_S).until(lambda driver: text in driver.find_element("id", name).text)


def write(browser: Any, area: Any, text: str) -> None:
    """As typed: `clear` alone sends no input event."""
    area.clear()
    area.send_keys(text)


def shown_messages(browser: Any) -> list[dict[str, str]]:
    rows = browser.find_elements("css selector", "#messages .message")
    return [
        {
            "role": row.find_element("css selector", "select").get_attribute("value"),
            "content": row.find_element("css selector", "textarea").get_attribute("value"),
        }
        for row in rows
    ]


def test_the_page_scores_and_compares_without_any_outside_asset(
    browser: Any, local_scorer: LocalScorer, model: RewardModel
) -> None:
    url = local_scorer()
    requested(browser)
    browser.get(url)
    browser.find_element("id", "send-score").click()
    shown = float(wait_for(browser, "#result-score .score")[0].get_attribute("data-score"))
    direct = model.score([shown_messages(browser)])[0]
    assert shown == pytest.approx(direct.score, abs=FP32_TOLERANCE)
    bars = [bar.text for bar in browser.find_elements("css selector", "#result-score .bar")]
    assert direct.probs is not None
    assert [float(bar.split()[-1].rstrip("%")) for bar in bars] == pytest.approx(
        [100 * p for p in direct.probs], abs=0.1
    )
    assert "error correction" in bars[1]
    screenshot(browser, "score")

    browser.find_element("id", "tab-compare").click()
    browser.find_element("id", "send-compare").click()
    verdict = wait_for(browser, "#verdict")[0].text
    prompt, *replies = (browser.find_element("id", name).get_attribute("value") for name in ("prompt", "a", "b"))
    talks = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}] for reply in replies]
    a, b = (score.probs or () for score in model.score(talks))
    better = probability_better(a, b)
    assert verdict == f"Reply {'A' if better > 0.5 else 'B'} is better: {100 * max(better, 1 - better):.1f}%"
    assert len(browser.find_elements("css selector", "#result-compare .score")) == 2
    screenshot(browser, "compare")

    assert all(address.startswith((url, "data:")) for address in requested(browser))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_shows_replicas_and_latency(
    browser: Any, local_scorer: LocalScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = status.Replicas(running=2, starting=1, stopping=0)  # of a deployment: tests/serve/test_routes.py
    monkeypatch.setattr(status, "_replicas", lambda: counts)
    url = local_scorer(max_replicas=3)
    browser.get(url)
    wait_for_text(browser, "replicas", "2, 1 starting (1–3)")
    assert browser.find_element("id", "p50").text == "–"
    browser.find_element("id", "send-score").click()
    wait_for_text(browser, "window", "1 request in 5 min")
    latency = httpx2.get(f"{url}/v1/status").json()["latency"]
    assert float(browser.find_element("id", "p95").text.split()[0]) == pytest.approx(latency["p95_ms"], rel=0.1, abs=1)


def test_the_page_shows_what_was_refused_and_where_and_asks_for_a_token(
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

    areas = browser.find_elements("css selector", "#messages textarea")
    for area in areas:
        area.clear()
    browser.find_element("id", "send-score").click()
    refused = wait_for(browser, "#result-score .error")[0]
    assert "the reply to score is empty" in refused.text
    assert "Field: items[0].messages[1].content" in refused.text
    assert [area.get_attribute("aria-invalid") for area in areas] == [None, "true"]
    screenshot(browser, "error")
    browser.find_element("id", "tab-compare").click()
    browser.find_element("id", "b").clear()
    browser.find_element("id", "send-compare").click()
    assert "pairs[0].b" in wait_for(browser, "#result-compare .error")[0].text
    assert browser.find_element("id", "b").get_attribute("aria-invalid") == "true"


def test_a_pasted_conversation_is_shown_as_text_and_never_as_markup(browser: Any, local_scorer: LocalScorer) -> None:
    browser.get(local_scorer())
    browser.find_element("id", "paste").click()
    pasted = '[{"role":"user","content":"<img src=x onerror=alert(1)>"},{"role":"assistant","content":"ok"}]'
    browser.find_element("id", "json").send_keys(pasted)
    browser.find_element("id", "use-json").click()
    browser.find_element("id", "send-score").click()
    assert wait_for(browser, "#result-score .score")
    assert browser.find_elements("css selector", "img") == []
    for text, expected in (
        (
            "User: one\nand more\n\nAssistant: two",
            [{"role": "user", "content": "one\nand more"}, {"role": "assistant", "content": "two"}],
        ),
        (f'{{"messages": {pasted}}}', json.loads(pasted)),
    ):
        browser.find_element("id", "paste").click()
        write(browser, browser.find_element("id", "json"), text)
        browser.find_element("id", "use-json").click()
        assert shown_messages(browser) == expected
    browser.find_element("id", "paste").click()
    write(browser, browser.find_element("id", "json"), "nonsense")
    browser.find_element("id", "use-json").click()
    assert wait_for(browser, "#result-score .error")


def test_the_page_is_used_by_keyboard_and_its_request_runs_as_code(
    browser: Any, local_scorer: LocalScorer, model: RewardModel
) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(local_scorer())
    browser.find_element("id", "tab-score").send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element.get_attribute("id") == "tab-compare"
    assert browser.find_element("id", "compare").is_displayed()
    browser.find_element("id", "tab-compare").send_keys(Keys.ARROW_LEFT)
    area = browser.find_elements("css selector", "#messages textarea")[1]
    write(browser, area, "it's a 'reply'")
    area.send_keys(Keys.CONTROL, Keys.ENTER)
    shown = float(wait_for(browser, "#result-score .score")[0].get_attribute("data-score"))

    browser.find_element("css selector", "#code summary").click()
    browser.find_element("id", "copy-curl").click()
    command = browser.find_element("id", "code-text").text
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    assert json.loads(answer)["items"][0]["responses"][0]["score"] == pytest.approx(shown, abs=FP32_TOLERANCE)
    browser.find_element("id", "copy-python").click()
    printed: list[Any] = []
    exec(browser.find_element("id", "code-text").text, {"print": printed.append})  # what a user would paste
    assert printed[0].score == pytest.approx(shown, abs=FP32_TOLERANCE)


def test_a_token_is_never_written_into_the_code(browser: Any, local_scorer: LocalScorer) -> None:
    browser.get(local_scorer())
    browser.find_element("css selector", "#auth summary").click()
    browser.find_element("id", "token").send_keys("secret")
    browser.find_element("css selector", "#code summary").click()
    for button in ("copy-curl", "copy-python"):
        browser.find_element("id", button).click()
        code = browser.find_element("id", "code-text").text
        assert "WILDREWARD_TOKEN" in code
        assert "secret" not in code


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_fit_a_phone_and_name_every_control(browser: Any, local_scorer: LocalScorer, path: str) -> None:
    url = local_scorer()
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        browser.get(url + path)
        wait_for(browser, "textarea")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        unnamed = [
            control.get_attribute("outerHTML")
            for control in browser.find_elements("css selector", "button, input, select, textarea")
            if control.is_displayed() and not control.accessible_name
        ]
        assert unnamed == []
        screenshot(browser, f"phone{path.replace('/', '_')}")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_docs_page_sends_its_examples_without_any_outside_asset(browser: Any, local_scorer: LocalScorer) -> None:
    url = local_scorer()
    requested(browser)
    browser.get(f"{url}/docs")
    wait_for(browser, "section")
    sections = browser.find_elements("css selector", "section")
    assert [section.find_element("css selector", "h2").text for section in sections][:2] == [
        "POST /get_reward",
        "POST /v1/score",
    ]
    for section in sections:
        section.find_element("css selector", "button").click()
    from selenium.webdriver.support.wait import WebDriverWait

    def answers(driver: Any) -> list[str]:
        texts = [found.text for found in driver.find_elements("css selector", "section pre")]
        return texts if len(texts) == len(sections) and all(texts) else []

    assert {text.split()[0] for text in WebDriverWait(browser, WAIT_S).until(answers)} == {"200"}
    assert all(address.startswith((url, "data:")) for address in requested(browser))
