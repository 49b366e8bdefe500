"""A real browser: Debian's chromium and chromium-driver, driven by the package selenium."""

import json
import os
import shutil
from typing import Any

import pytest


def open_browser(*flags: str) -> Any:
    """Headless, with its console and network events on record. Skips the test where a part is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the package selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1000", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def screenshot(browser: Any, name: str) -> None:
    """Kept where WILDREWARD_SCREENSHOTS says, to be looked at."""
    if "WILDREWARD_SCREENSHOTS" in os.environ:
        browser.save_screenshot(os.path.join(os.environ["WILDREWARD_SCREENSHOTS"], f"{name}.png"))


def requested(browser: Any) -> set[str]:
    """Addresses asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
