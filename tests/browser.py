"""A headless Chromium for the tests that look at a page. Needs Debian's chromium and chromium-driver, and selenium."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that logs what its pages ask for. Skips the test, with the reason, where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the package selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def screenshot(browser: Any, name: str) -> None:
    """Kept where WILDREWARD_SCREENSHOTS says, to be looked at."""
    if "WILDREWARD_SCREENSHOTS" in os.environ:
        browser.save_screenshot(os.path.join(os.environ["WILDREWARD_SCREENSHOTS"], f"{name}.png"))


def requested(browser: Any) -> set[str]:
    """Addresses that the pages asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
