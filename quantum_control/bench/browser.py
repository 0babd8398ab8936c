"""A Chromium without a window, as Debian installs it, for the tests and the pictures of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from quantum_control.core.errors import ConfigError

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DARK = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
LIGHT = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}


def missing() -> str:
    """Say what is missing to start a browser, and how to get it; empty if nothing."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        return "chromium or chromedriver is not installed; scripts/install-servers installs them"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed; pip install 'quantum-control[dev]' brings it"
    return ""


@contextmanager
def browser(width: int = 1280, height: int = 900) -> Iterator[WebDriver]:
    """Start a browser with a profile of its own, and end it.

    Raises
    ------
    ConfigError
        Something is missing.
    """
    if why := missing():
        raise ConfigError(why)
    from selenium.webdriver import ChromeOptions, ChromeService
    from selenium.webdriver.chrome.webdriver import WebDriver

    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Both paths are given, so that selenium looks for nothing elsewhere.
        driver = WebDriver(options, ChromeService(str(shutil.which("chromedriver"))))
        try:
            yield driver
        finally:
            driver.quit()


def prefer(driver: WebDriver, scheme: dict[str, object]) -> None:
    """Let the browser prefer `DARK` or `LIGHT`."""
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
