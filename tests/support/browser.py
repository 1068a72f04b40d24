"""A real browser for the pages that the project writes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser_page(**options) -> Iterator:
    """A page of a headless Chromium; the test is skipped where there is none.

    Whatever a script of the page throws, and whatever it asks of a network, fails the test.
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("needs a browser: apt install chromium")
    from playwright.sync_api import sync_playwright

    troubles = []
    arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(**options)
        page.set_default_timeout(120_000)  # pictures are drawn without a graphics card
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: _note(request.url, troubles))
        try:
            yield page
        finally:
            browser.close()
    assert troubles == []


def _note(url: str, troubles: list[str]) -> None:
    if not url.startswith(("blob:", "data:", "file:", "http://127.0.0.1")):
        troubles.append(f"the page asks for {url[:200]}")
